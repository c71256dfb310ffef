// Package sqlite is all that dbfx knows of SQLite and of modernc.org/sqlite.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
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
	generation atomic.Int64  // connections born before it, in nanoseconds, are replaced

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
	e.wal = &wal{engine: e, path: e.path + "-wal", limit: opt.WALBytes}
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

// begins reports whether the file is empty and its first page need not be synced:
// the change to WAL syncs four times what holds nothing, a half of Open's time. With
// synchronous=normal a power loss may take what no checkpoint has synced anyway.
func (e *Engine) begins() bool {
	normal := slices.ContainsFunc(e.opt.Pragmas, func(p Pragma) bool { return p.Name == "synchronous" && p.Value == "normal" })
	info, err := os.Stat(e.path)
	return !e.opt.Memory && normal && err == nil && info.Size() == 0
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
	for _, s := range []*shelf{e.readers, e.own, e.writer} {
		_ = s.closeFree(e.outdated)
	}
	return false // those of database/sql are no connections
}

// outdated reports whether Renew has been called since r was opened.
func (e *Engine) outdated(r *realConn) bool {
	return r.born <= e.generation.Load() && !e.opt.Memory
}

// Lag implements engine.Engine: there are no replicas.
func (e *Engine) Lag(context.Context, engine.Execer) (time.Duration, error) { return 0, nil }

// LockSchema implements engine.Engine: BEGIN IMMEDIATE has locked it.
func (e *Engine) LockSchema(context.Context, engine.Execer) error { return nil }
