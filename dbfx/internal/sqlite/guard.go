package sqlite

import (
	"context"
	"errors"
	"sync"

	"modernc.org/sqlite"

	"github.com/sergas/dbkit/dbfx/internal/engine"
)

var errBusyTimeout = errors.New("SQLITE_BUSY_TIMEOUT has passed")

// guard knows whether the transaction that dbfx began is still there.
//
// SQLite ends one by itself after an interrupted write, a full disk, INSERT OR
// ROLLBACK or RAISE(ROLLBACK). The driver does not say so, and the next
// statement of the *sql.Tx commits by itself.
type guard struct {
	mu     sync.Mutex // a session asks while another goroutine may run a statement
	active bool       // between BeginTx and the end of its Tx
	ending bool       // Commit or Rollback runs
	ended  bool       // SQLite ended it
	first  error      // the first failed statement

	freed    bool // the session ends what adopted the transaction
	finished bool // what adopted it was ended by its user
}

func (g *guard) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.active, g.ending, g.ended, g.first = true, false, false, nil
	g.freed, g.finished = false, false
}

func (g *guard) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.active, g.ending = false, false
}

// finish begins the end of the transaction; it reports whether SQLite was first.
func (g *guard) finish() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ending = true
	if g.ended {
		return &engine.EndedError{First: g.first}
	}
	return nil
}

// enter lets a statement in, and says whether it runs in a transaction of ours.
func (g *guard) enter() (inTx bool, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.active && g.ended {
		return true, &engine.EndedError{First: g.first}
	}
	return g.active, nil
}

// note keeps the first error of a statement. An error that SQLite was not asked
// for, such as a missing argument, leaves the transaction whole on PostgreSQL
// too.
func (g *guard) note(err error) {
	if err == nil {
		return
	}
	var s *sqlite.Error
	if !errors.As(err, &s) && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return
	}
	g.fail(err)
}

func (g *guard) fail(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.active && g.first == nil {
		g.first = err
	}
}

func (g *guard) read() engine.State {
	g.mu.Lock()
	defer g.mu.Unlock()
	return engine.State{Ended: g.active && g.ended || g.finished, Finished: g.finished, First: g.first}
}

func (g *guard) forgive() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.first = nil
}

// rolledBack is SQLite's rollback hook. It does not run for ROLLBACK TO.
func (g *guard) rolledBack() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.active && !g.ending {
		g.ended = true
	}
}

// committing is SQLite's commit hook. A COMMIT that came as a statement is
// turned into a rollback: what it commits would stay, and the session would be
// reported as failed.
func (g *guard) committing() int32 {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.active && !g.ending {
		return 1
	}
	return 0
}
