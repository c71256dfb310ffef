// Package sqlite is all that dbfx knows of SQLite and of modernc.org/sqlite.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sergas/dbkit/dbfx/internal/engine"
)

// Options say which database to open and how.
type Options struct {
	Path        string // the file; not used in memory
	Memory      bool
	Setting     string // the variable that names Path, for errors
	FileMode    os.FileMode
	MaxConns    int // real connections that read: 0 chooses, 1 is one for everything
	BusyTimeout time.Duration
	WALBytes    int64             // the size of the log from which on it is checkpointed; 0 leaves that to others
	ReadKeeper  bool              // spares the reads system calls
	Warn        func(text string) // told what a person should know while the database runs; may be nil
	// StatementCache is how many prepared statements a connection keeps.
	StatementCache int
	Pragmas        []Pragma // for every connection that may write, in order
	ReadPragmas    []Pragma // for those that read
	Warnings       []string
	Trace          *engine.Trace
}

// Pragma is one PRAGMA that a connection runs when it opens.
type Pragma struct {
	Name, Value string
	Want        string // the answer that proves it
}

// Engine is a SQLite database.
type Engine struct {
	opt  Options
	path string // absolute
	err  error  // why there is no path

	single bool // everything runs on one real connection
	// sessions is where sessions that write wait, and queue where one of them and the
	// bare statements do.
	sessions, queue *engine.Gate

	plans  plans
	wal    *wal    // nil in memory
	keeper *keeper // nil where it is turned off, or has no use

	// readers refuse writes; own are lent to those who may change them, with the
	// pragmas of the one that writes. Where there is one connection it is writer's.
	readers, own, writer *shelf

	turns      atomic.Uint64 // how often a real connection was taken
	generation atomic.Int64  // of the connections; Renew begins another

	prepare  sync.Mutex
	prepared bool
	notes    []string // what the file looked like before it was opened
}

var _ engine.Engine = (*Engine)(nil)

// New describes a database; it opens nothing.
func New(opt Options) *Engine {
	e := &Engine{opt: opt, single: opt.Memory || opt.MaxConns == 1, sessions: engine.NewGate(1), queue: engine.NewGate(1)}
	readers := opt.MaxConns
	if readers == 0 {
		readers = defaultReaders
	}
	e.readers = e.newShelf(opt.ReadPragmas, readers, readerPatience, min(readers, max(2, runtime.NumCPU())))
	e.readers.readOnly = true
	e.own = e.newShelf(opt.Pragmas, math.MaxInt, 0, 1)
	e.writer = e.newShelf(opt.Pragmas, 1, writerPatience, 1)
	if opt.Memory {
		return e
	}
	e.path, e.err = filepath.Abs(opt.Path) // once: a later Chdir must not move the database
	if opt.ReadKeeper && !e.single {
		e.keeper = &keeper{engine: e}
	}
	e.wal = &wal{engine: e, path: e.path + "-wal", limit: opt.WALBytes, patience: walPatience}
	return e
}

// With 16 readers 100 goroutines hardly ever wait, and no more are opened.
const defaultReaders = 16

// A reader that waits for so long gets one more connection: with 5 ms 46 were
// opened for 100 readers, with 20 ms none, and rows in rows waited 31 ms at most.
//
// The one that writes comes back within microseconds, unless a sql.Conn that wrote
// keeps it; then the next writer has another.
const (
	readerPatience = 20 * time.Millisecond
	writerPatience = 5 * time.Millisecond
)

func (e *Engine) newShelf(pragmas []Pragma, soft int, patience time.Duration, keep int) *shelf {
	return &shelf{engine: e, pragmas: pragmas, soft: soft, patience: patience, keep: keep, open: map[*realConn]struct{}{}}
}

// shelf returns where the connections for a need are.
func (e *Engine) shelf(n need) *shelf {
	switch {
	case e.single || n == needWrite:
		return e.writer
	case n == needOwn:
		return e.own
	}
	return e.readers
}

// serves reports whether a connection of s will do for a need.
func (e *Engine) serves(s *shelf, n need) bool {
	return n == needRead || e.shelf(n) == s || n == needOwn && s == e.writer
}

// plan returns what is known of a text.
func (e *Engine) plan(query string) *plan {
	if p := e.plans.find(query); p != nil {
		return p
	}
	return newPlan(query)
}

// Dialect implements engine.Engine.
func (e *Engine) Dialect() string { return "sqlite" }

// Where implements engine.Engine.
func (e *Engine) Where() string {
	if e.opt.Memory {
		return "memory"
	}
	return e.path
}

// Warnings implements engine.Engine.
func (e *Engine) Warnings() []string { return e.opt.Warnings }

// Main implements engine.Engine. The handle needs no limit: its connections cost
// nothing, and each has a real one only while it has something to run.
func (e *Engine) Main() engine.Handle {
	return engine.Handle{Connector: connector{e}, MaxIdle: 256}
}

// Reader implements engine.Engine: View needs no handle of its own.
func (e *Engine) Reader() engine.Handle { return engine.Handle{} }

// Close closes the real connections that are free, and the others when they come
// back. The one that writes is last: the last connection checkpoints.
func (e *Engine) Close() error {
	return errors.Join(e.keeper.close(), e.readers.close(), e.own.close(), e.writer.close())
}

// pingBeside asks the database on a connection of its own, where the only one is in
// use. A database in memory has no other, and whoever has it works with it.
func (e *Engine) pingBeside(ctx context.Context) error {
	if e.opt.Memory {
		return nil
	}
	r, err := e.writer.connect(ctx)
	if err != nil {
		return err
	}
	return r.close()
}

// oldest returns the session whose real connection was taken first of all that are
// in use; nil stands for the user of a bare *sql.DB.
func (e *Engine) oldest() (hold *engine.Hold, ok bool) {
	var found *realConn
	first := uint64(math.MaxUint64)
	for _, s := range []*shelf{e.readers, e.own, e.writer} {
		s.mu.Lock()
		for r := range s.open {
			if turn := r.turn.Load(); turn != 0 && turn < first {
				found, first = r, turn
			}
		}
		s.mu.Unlock()
	}
	if found == nil {
		return nil, false
	}
	return found.hold.Load(), true
}

// Savepoint implements engine.Engine. View's promise is kept by Link.SetReadOnly.
func (e *Engine) Savepoint(name string, _ bool) engine.Savepoint {
	return engine.Savepoint{
		Enter:    "savepoint " + name,
		Release:  "release " + name,
		Rollback: "rollback to " + name + "; release " + name,
	}
}

// CheckScript implements engine.Engine.
func (e *Engine) CheckScript(text string) error { return engine.SQLite.CheckControl(text) }

// SupportsIsolation implements engine.Engine.
func (e *Engine) SupportsIsolation(level sql.IsolationLevel) error { return checkIsolation(level) }

// checkIsolation accepts every level that serializable, which SQLite always
// gives, includes; pgx accepts the same ones.
func checkIsolation(level sql.IsolationLevel) error {
	switch level {
	case sql.LevelDefault, sql.LevelReadUncommitted, sql.LevelReadCommitted,
		sql.LevelRepeatableRead, sql.LevelSnapshot, sql.LevelSerializable:
		return nil
	}
	return fmt.Errorf("SQLite has no isolation level %s", level)
}

// Renew implements engine.Engine. A database in memory lives in its connection.
func (e *Engine) Renew() bool {
	e.generation.Add(1)
	for _, s := range []*shelf{e.readers, e.own, e.writer} {
		_ = s.closeFree(e.outdated)
	}
	return false // those of database/sql are no connections
}

// outdated reports whether Renew has been called since r was opened.
func (e *Engine) outdated(r *realConn) bool {
	return r.born < e.generation.Load() && !e.opt.Memory
}

// Lag implements engine.Engine: there are no replicas.
func (e *Engine) Lag(context.Context, engine.Execer) (time.Duration, error) { return 0, nil }

// LockSchema implements engine.Engine: BEGIN IMMEDIATE has locked it.
func (e *Engine) LockSchema(context.Context, engine.Execer) error { return nil }
