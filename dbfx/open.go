package dbfx

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"

	"github.com/sergas/dbkit/dbfx/internal/engine"
)

// Opener makes the *sql.DB of a connector; sql.OpenDB where there is none in the
// graph. It is where otelsql plugs in.
type Opener func(h HandleInfo, c driver.Connector) *sql.DB

// HandleInfo names a handle of a database.
type HandleInfo struct {
	Database string // the name given to Named, "" for the default
	Dialect  Dialect
	Role     Role
}

// Role says what a handle of a database is for.
type Role string

// The roles. A SQLite file has a RoleReader for View where it needs one.
const (
	RoleMain    Role = "main"
	RoleReader  Role = "reader"
	RoleReplica Role = "replica"
)

func openHandle(_ HandleInfo, c driver.Connector) *sql.DB { return sql.OpenDB(c) }

// PasswordSource gives the password for each new PostgreSQL connection: a token of
// a cloud's IAM, a secret that rotates. Put one into the graph, or pass it with
// WithPasswordSource. It takes the place of the one in the settings; connections
// that are open keep working. When the server refuses a password, the source is
// asked once more. It must be safe for concurrent use and honour its context.
type PasswordSource func(ctx context.Context) (string, error)

// Database is a database without Fx: what Open returns.
type Database struct {
	name      string
	cfg       Config
	engine    engine.Engine
	log       *zap.Logger
	observers observers
	opener    Opener
	source    PasswordSource
	active    *active
	trim      trimmer
	events    *events
	monitor   *monitor

	starters []Starter
	checks   []Check

	main   *sql.DB // nil until opened
	reader *sql.DB // View's own, nil where it has none

	sessions *Sessions
	health   *Health
	schema   *Schema

	starting startGuard
	started  atomic.Bool
	closed   sync.Once
	closing  error
	done     chan struct{} // closed at the end of Close
}

// OpenOption changes what Open makes.
type OpenOption func(*Database)

// WithLogger gives the database a logger. Without one it is silent.
func WithLogger(log *zap.Logger) OpenOption {
	return func(d *Database) {
		if log != nil {
			d.log = log
		}
	}
}

// WithObserver adds an observer.
func WithObserver(o Observer) OpenOption {
	return func(d *Database) {
		if o != nil {
			d.observers.list = append(d.observers.list, o)
		}
	}
}

// WithOpener sets the Opener.
func WithOpener(open Opener) OpenOption {
	return func(d *Database) {
		if open != nil {
			d.opener = open
		}
	}
}

// WithPasswordSource sets the source of passwords.
func WithPasswordSource(source PasswordSource) OpenOption {
	return func(d *Database) { d.source = source }
}

// Open opens the database that cfg names, as the module does on start: it makes
// the directory of a SQLite file, waits for a server that is still booting, and
// checks what it finds. ctx bounds that and nothing after. Close it.
func Open(ctx context.Context, cfg Config, opts ...OpenOption) (*Database, error) {
	d, err := newDatabase("", cfg, opts...)
	if err != nil {
		return nil, err
	}
	d.assemble(d.open())
	if err := d.start(ctx); err != nil {
		return nil, err
	}
	return d, nil
}

// DB returns the handle. Close the Database, not the handle.
func (d *Database) DB() *sql.DB { return d.main }

// Sessions returns the session runner.
func (d *Database) Sessions() *Sessions { return d.sessions }

// Config returns the settings, secrets masked when printed.
func (d *Database) Config() Config { return d.cfg }

// Logger returns what WithLogger gave, or one that is silent.
func (d *Database) Logger() *zap.Logger { return d.log }

// Health returns the health checks.
func (d *Database) Health() *Health { return d.health }

// Schema returns the schema tools.
func (d *Database) Schema() *Schema { return d.schema }

// newDatabase builds and does no I/O.
func newDatabase(name string, cfg Config, opts ...OpenOption) (*Database, error) {
	if cfg.dir == "" {
		cfg.dir = workingDir()
	}
	d := &Database{name: name, cfg: cfg, log: zap.NewNop(), opener: openHandle, active: newActive(), done: make(chan struct{})}
	for _, opt := range opts {
		opt(d)
	}
	d.log = d.log.With(zap.String("database", cmp.Or(name, "default")))
	d.events = newEvents(name, d.log, &d.observers)
	d.monitor = newMonitor(d)
	d.observers.log, d.source = d.log, guarded(d.source)
	d.observers.prepare(infoOf(name, cfg), cfg, d.events)
	var err error
	d.engine, err = newEngine(cfg, name, &d.observers, d.source, func(text string) { d.log.Warn(text) })
	return d, err
}

// guarded turns a panic of source into an error: it may run on a goroutine of
// database/sql, where it would end the process.
func guarded(source PasswordSource) PasswordSource {
	if source == nil {
		return nil
	}
	return func(ctx context.Context) (password string, err error) {
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("it panicked: %v", p)
			}
		}()
		return source(ctx)
	}
}

// open makes the handles, which dial nothing.
func (d *Database) open() *sql.DB {
	d.main = d.engine.Main().Open(d.openAs(RoleMain))
	if reader := d.engine.Reader(); reader.Connector != nil {
		d.reader = reader.Open(d.openAs(readerRole(reader)))
	}
	return d.main
}

// openAs is the Opener for a handle of a role.
func (d *Database) openAs(role Role) func(driver.Connector) *sql.DB {
	info := HandleInfo{Database: d.name, Dialect: Dialect(d.engine.Dialect()), Role: role}
	return func(c driver.Connector) *sql.DB { return d.opener(info, c) }
}

func readerRole(h engine.Handle) Role {
	if h.Replica {
		return RoleReplica
	}
	return RoleReader
}

// assemble builds what works on db, which need not be the handle of open: a
// graph may have replaced it.
func (d *Database) assemble(db *sql.DB) {
	write := pool{db: db, gate: d.engine.Main().Gate, role: RoleMain}
	read := write
	if d.reader != nil && db == d.main {
		read = pool{db: d.reader, gate: d.engine.Reader().Gate, role: readerRole(d.engine.Reader())}
	}
	d.sessions = &Sessions{
		name: d.name, engine: d.engine, write: write, read: read, active: d.active, log: d.log, observers: &d.observers,
		poolTimeout: d.cfg.PoolTimeout, commitTimeout: d.cfg.CommitTimeout,
		meter: &meter{}, slow: d.observers.slow, alarm: d.monitor.alarm, refused: &d.monitor.refused,
	}
	d.sessions.replica = read.db != db && d.engine.Reader().Replica
	d.sessions.read.replica = d.sessions.replica
	d.sessions.maxLag = d.cfg.DatabaseReplicaMaxLag
	d.sessions.renew = func() {
		if !d.engine.Renew() || db != d.main {
			return
		}
		for _, h := range []struct {
			db     *sql.DB
			handle engine.Handle
		}{{d.main, d.engine.Main()}, {d.reader, d.engine.Reader()}} {
			if h.db != nil {
				h.db.SetMaxIdleConns(-1) // closes the idle ones
				h.db.SetMaxIdleConns(h.handle.MaxIdle)
			}
		}
	}
	d.health = newHealth(d, db)
	d.schema = &Schema{sessions: d.sessions, engine: d.engine, cfg: d.cfg}
}
