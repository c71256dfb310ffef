package sqlite

import (
	"context"
	"errors"
	"sync"

	"modernc.org/sqlite"

	"github.com/sergas/dbkit/dbfx/internal/engine"
)

// txState knows whether the transaction that dbfx began is still there. It belongs
// to the connection that database/sql holds, so it outlives the hold of a real one.
//
// SQLite ends a transaction by itself after an interrupted write, a full disk,
// INSERT OR ROLLBACK or RAISE(ROLLBACK). The driver does not say so, and the next
// statement of the *sql.Tx commits by itself.
type txState struct {
	mu     sync.Mutex // a session asks while another goroutine may run a statement
	active bool       // between BeginTx and the end of its Tx
	ending bool       // Commit or Rollback runs
	ended  bool       // SQLite ended it
	first  error      // the first failed statement

	freed    bool // the session ends what adopted the transaction
	finished bool // what adopted it was ended by its user
}

func (s *txState) open() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.active, s.ending, s.ended, s.first = true, false, false, nil
	s.freed, s.finished = false, false
}

func (s *txState) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.active, s.ending = false, false
}

// finish begins the end of the transaction; its error says that SQLite was first.
func (s *txState) finish() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ending = true
	if s.ended {
		return &engine.EndedError{First: s.first}
	}
	return nil
}

// enter lets a statement in, unless its transaction is no more.
func (s *txState) enter() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.active && s.ended {
		return &engine.EndedError{First: s.first}
	}
	return nil
}

// note keeps the first error of a statement. An error that SQLite was not asked
// for, such as a missing argument, leaves the transaction whole on PostgreSQL
// too.
func (s *txState) note(err error) {
	if err == nil {
		return
	}
	var answer *sqlite.Error
	if !errors.As(err, &answer) && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return
	}
	s.fail(err)
}

func (s *txState) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.active && s.first == nil {
		s.first = err
	}
}

func (s *txState) read() engine.State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return engine.State{Ended: s.active && s.ended || s.finished, Finished: s.finished, First: s.first}
}

func (s *txState) forgive() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.first = nil
}

// rolledBack is SQLite's rollback hook. It does not run for ROLLBACK TO.
func (s *txState) rolledBack() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.active && !s.ending {
		s.ended = true
	}
}

// committing is SQLite's commit hook; it reports whether the commit must become a
// rollback. A COMMIT that came as a statement would stay, and the session would be
// reported as failed; so would what a text writes after its own ROLLBACK.
func (s *txState) committing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.active && !s.ending
}
