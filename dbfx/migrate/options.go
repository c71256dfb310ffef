package migrate

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"regexp"
	"time"

	"github.com/pressly/goose/v3"
)

// Option changes what Module and New make.
type Option func(*options)

type options struct {
	mode        Mode
	database    string
	table       string
	lockTimeout time.Duration
	code        []Go
	down        bool
	outOfOrder  bool
	alembic     string
	baseline    int64
	seeds       fs.FS
}

func defaults() options {
	return options{table: goose.DefaultTablename, lockTimeout: time.Second}
}

// Mode says what a start does. Without WithMode it is Config.Migrations, which the
// environment variable MIGRATIONS sets: so one image serves the job that migrates
// and the service that checks.
type Mode string

// The modes.
const (
	// Run applies what is pending. It is the default.
	Run Mode = "run"
	// Check fails the start when something is pending: another process migrates.
	Check Mode = "check"
	// Off starts whatever the schema is; readiness still waits for it.
	Off Mode = "off"
)

// WithMode sets the mode of a start, whatever MIGRATIONS says.
func WithMode(m Mode) Option { return func(o *options) { o.mode = m } }

// ForDatabase makes Module migrate the database of that name, which Named has
// added, instead of the default one.
func ForDatabase(name string) Option { return func(o *options) { o.database = name } }

// Table sets the name of the version table, and with _files after it that of the
// table beside it, which holds checksums. Defaults to goose's, goose_db_version.
// Where PostgreSQL's search_path has several schemas that are migrated apart, name
// the schema too, "tenant.goose_db_version": without it the first table on the path
// counts.
func Table(name string) Option { return func(o *options) { o.table = name } }

// LockTimeout is the longest that a statement waits for a lock of PostgreSQL, and
// so the longest that others queue behind it; then the migration is rolled back
// and tried again, until its context ends. A CREATE INDEX CONCURRENTLY, behind
// which no reader and no writer queues, waits as long as it must. Defaults to one
// second.
func LockTimeout(d time.Duration) Option { return func(o *options) { o.lockTimeout = d } }

// WithGo adds migrations that are written in Go.
func WithGo(list ...Go) Option { return func(o *options) { o.code = append(o.code, list...) } }

// AllowDown lets Down, and To for an older version, work where ENV is production.
func AllowDown() Option { return func(o *options) { o.down = true } }

// AllowOutOfOrder lets Up apply a migration that is older than one that has been
// applied, as happens when two branches are merged. Without it that is
// ErrOutOfOrder, as it is for goose.
func AllowOutOfOrder() Option { return func(o *options) { o.outOfOrder = true } }

// AdoptAlembic takes over a database that Alembic has made: where there is no
// version table and alembic_version holds revision, every migration up to version
// counts as applied, without running. Another revision is an error. On an empty
// database every migration runs.
func AdoptAlembic(revision string, version int64) Option {
	return func(o *options) { o.alembic, o.baseline = revision, version }
}

// Seeds adds .sql files that fill a database for development: after the
// migrations each file whose name the table dbfx_seeds does not have runs once, in
// the order of the names and in a transaction of its own. Where ENV is not
// development, dev, test or testing they do not run.
func Seeds(fsys fs.FS) Option { return func(o *options) { o.seeds = fsys } }

// Go is a migration written in Go. Set Up or UpDB, and Down or DownDB if there is
// a way back.
type Go struct {
	Version int64
	Name    string // for people

	// Up and Down run in the transaction that writes the version.
	Up, Down func(ctx context.Context, tx *sql.Tx) error
	// UpDB and DownDB run without one, and again after a crash.
	UpDB, DownDB func(ctx context.Context, db *sql.DB) error
	// Rebuild turns SQLite's foreign keys off around Up and Down, and checks them
	// before the commit: for one that drops a table. Without it dropping a table
	// that others refer to is refused there, as it would delete their rows.
	Rebuild bool
}

func (g *Go) name() string {
	if g.Name == "" {
		return fmt.Sprintf("%05d.go", g.Version)
	}
	return fmt.Sprintf("%05d_%s.go", g.Version, g.Name)
}

func (g *Go) check() error {
	switch {
	case g.Version < 1:
		return fmt.Errorf("dbfx: migrate: %s: want a version of at least 1", g.name())
	case (g.Up == nil) == (g.UpDB == nil):
		return fmt.Errorf("dbfx: migrate: %s: want one of Up and UpDB", g.name())
	case g.Down != nil && g.DownDB != nil:
		return fmt.Errorf("dbfx: migrate: %s: want one of Down and DownDB", g.name())
	}
	return nil
}

// goose is the migration as goose takes it. A function that runs without a
// transaction gets db, not the one connection that goose is given.
func (g *Go) goose(db *sql.DB) *goose.Migration {
	return goose.NewGoMigration(g.Version, gooseFunc(g.Up, g.UpDB, db), gooseFunc(g.Down, g.DownDB, db))
}

// gooseFunc is one direction as goose takes it.
func gooseFunc(tx func(context.Context, *sql.Tx) error, bare func(context.Context, *sql.DB) error, db *sql.DB) *goose.GoFunc {
	if bare != nil {
		return &goose.GoFunc{RunDB: func(ctx context.Context, _ *sql.DB) error { return bare(ctx, db) }}
	}
	return &goose.GoFunc{RunTx: tx}
}

// tableName is what the name of the version table may be: it is put into SQL.
var tableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?$`)

func (o options) check() error {
	switch {
	case o.mode != "" && o.mode != Run && o.mode != Check && o.mode != Off:
		return fmt.Errorf("dbfx: migrate: the mode: want run, check or off, got %q", o.mode)
	case !tableName.MatchString(o.table) || len(o.table) > 50:
		return fmt.Errorf("dbfx: migrate: the table: want a name of letters, digits and _, got %q", o.table)
	case o.lockTimeout < time.Millisecond:
		return fmt.Errorf("dbfx: migrate: the lock timeout: want at least 1ms, got %s", o.lockTimeout)
	}
	return nil
}
