// Package sqlite is all that dbfx knows of SQLite and of modernc.org/sqlite.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
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
	MaxConns    int // 0 chooses
	BusyTimeout time.Duration
	// StatementCache is how many prepared statements a connection keeps.
	StatementCache int
	Pragmas        []Pragma // for every connection of the handle, in order
	ReadPragmas    []Pragma // for View's connections
	Warnings       []string
	Trace          *engine.Trace
}

// Pragma is one PRAGMA that a connection runs when it opens.
type Pragma struct {
	Name, Value string
	Want        string // the answer that proves it
	CheckOnly   bool   // another connection has set it
}

// Engine is a SQLite database.
type Engine struct {
	opt  Options
	path string // absolute
	err  error  // why there is no path

	// queue is where sessions wait for a connection, and gate where whoever has
	// one waits to write. Sessions must not wait for the gate with a connection
	// each: they would hold them all, and bare reads fell from 6100 to 454 a
	// second. Nor must one wait for a connection with the gate: bare writers hold
	// theirs until they get the gate.
	queue, gate *engine.Gate

	generation atomic.Int64 // connections born before it, in nanoseconds, are replaced

	prepare  sync.Mutex
	prepared bool
	notes    []string // what the file looked like before it was opened
}

var _ engine.Engine = (*Engine)(nil)

// New describes a database; it opens nothing.
func New(opt Options) *Engine {
	e := &Engine{opt: opt, queue: engine.NewGate(1), gate: engine.NewGate(1)}
	if opt.Memory {
		return e
	}
	e.path, e.err = filepath.Abs(opt.Path) // once: a later Chdir must not move the database
	return e
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

// Main implements engine.Engine. A database in memory is its one connection, so
// nothing may end that one.
func (e *Engine) Main() engine.Handle {
	n := e.opt.MaxConns
	switch {
	case e.opt.Memory:
		n = 1
	case n == 0:
		n = min(max(runtime.NumCPU()+1, 3), 5)
	}
	return engine.Handle{
		Connector: &connector{engine: e, dsn: e.dsn(), pragmas: e.opt.Pragmas},
		MaxOpen:   n, MaxIdle: n, Gate: e.queue,
	}
}

// Reader implements engine.Engine: a few connections that no writer can occupy.
// Where they are missing and bare writers hold all of the handle's connections,
// reads fall from 6100 to 454 a second.
func (e *Engine) Reader() engine.Handle {
	if e.opt.Memory {
		return engine.Handle{}
	}
	n := min(max(runtime.NumCPU(), 2), 4)
	return engine.Handle{
		Connector: &connector{engine: e, dsn: e.dsn(), pragmas: e.opt.ReadPragmas, reader: true},
		MaxOpen:   n, MaxIdle: n,
	}
}

// dsn is a file: URI, the only form that is right for names with ?, # and %41.
// mode=rw: a database that vanished after the start is an error, not a new and
// empty one.
func (e *Engine) dsn() string {
	const driver = "_txlock=immediate&_time_format=sqlite&_timezone=UTC&_error_rc=1" // times: see bind
	if e.opt.Memory {
		return ":memory:?" + driver
	}
	return (&url.URL{Scheme: "file", Path: filepath.ToSlash(e.path), RawQuery: "mode=rw&" + driver}).String()
}

// Prepare implements engine.Engine: it makes the directory and the file, once.
// The first connection does so too: a constructor may query before the start.
func (e *Engine) Prepare(context.Context) error {
	if e.err != nil {
		return fmt.Errorf("%s: %w", e.opt.Setting, e.err)
	}
	e.prepare.Lock()
	defer e.prepare.Unlock()
	if e.opt.Memory || e.prepared {
		return nil
	}
	if err := prepareFile(e.opt.Setting, e.path, e.opt.FileMode); err != nil {
		return err
	}
	e.notes = lookAtFile(e.path)
	e.prepared = true
	return nil
}

// Verify implements engine.Engine. A ping alone does not read the file.
func (e *Engine) Verify(ctx context.Context, db *sql.DB) ([]string, error) {
	var n int
	if err := db.QueryRowContext(ctx, "select count(*) from sqlite_schema").Scan(&n); err != nil {
		return nil, err
	}
	// 0x10002 analyses only tables that have no statistics yet: 53 ms once on
	// 101 MB, then 22 µs. It is a help, so its error is no reason not to start.
	_, _ = db.ExecContext(ctx, "pragma optimize = 0x10002")
	return e.notes, nil
}

// Finish implements engine.Engine. The close checkpoints by itself.
func (e *Engine) Finish(ctx context.Context, db *sql.DB) error {
	if e.opt.Memory {
		return nil
	}
	_, err := db.ExecContext(ctx, "pragma optimize")
	return err
}

// StartError implements engine.Engine.
func (e *Engine) StartError(err error) (error, bool) {
	switch primary(err) {
	case 0:
		if errors.Is(err, errReadOnlyFile) {
			return fmt.Errorf("%s: open %s: %w (%s)", e.opt.Setting, e.Where(), err, identity(e.path)), false
		}
		if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
			return fmt.Errorf("%s: %s did not open in time; another process may have it locked: %w", e.opt.Setting, e.Where(), err), false
		}
		return err, false
	case codeNotADB:
		return fmt.Errorf("%s: %s is not a SQLite database: %w", e.opt.Setting, e.Where(), err), false
	case codeCorrupt:
		return fmt.Errorf("%s: %s is damaged: %w", e.opt.Setting, e.Where(), err), false
	case codeBusy:
		return fmt.Errorf("%s: %s is locked by another process: %w", e.opt.Setting, e.Where(), err), true
	case codeReadOnly:
		return fmt.Errorf("%s: %s or its directory cannot be written (%s): %w", e.opt.Setting, e.Where(), identity(e.path), err), false
	}
	return fmt.Errorf("%s: open %s (%s): %w", e.opt.Setting, e.Where(), identity(e.path), err), false
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
	e.generation.Store(time.Now().UnixNano())
	return !e.opt.Memory
}

// Lag implements engine.Engine: there are no replicas.
func (e *Engine) Lag(context.Context, engine.Execer) (time.Duration, error) { return 0, nil }

// LockSchema implements engine.Engine: BEGIN IMMEDIATE has locked it.
func (e *Engine) LockSchema(context.Context, engine.Execer) error { return nil }
