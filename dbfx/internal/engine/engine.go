// Package engine is what dbfx asks of a database, whichever it is. The packages
// postgres and sqlite answer.
package engine

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"time"
)

// Engine is one database: where it is, how it is opened, and what its errors
// mean. Making one does no I/O. Its methods are safe for concurrent use.
type Engine interface {
	// Dialect is "postgresql" or "sqlite".
	Dialect() string
	// Where names the database for people, without a secret.
	Where() string
	// Warnings are what a person should know before the start.
	Warnings() []string
	// Main is the handle that the service gets.
	Main() Handle
	// Reader is a second handle, for View. It has no Connector where View uses
	// the first.
	Reader() Handle

	// Prepare does what must be done before the first connection.
	Prepare(ctx context.Context) error
	// Verify checks the opened database and tunes it. The notes are for the log.
	Verify(ctx context.Context, db *sql.DB) (notes []string, err error)
	// Finish does what is best done just before the close.
	Finish(ctx context.Context, db *sql.DB) error
	// StartError says of an error of the start whether the same try can succeed
	// later, and explains it.
	StartError(err error) (explained error, later bool)

	// Classify says what err means.
	Classify(err error) Fault
	// CommitOutcome says what a failed COMMIT left.
	CommitOutcome(err error) Outcome
	// Savepoint returns the statements of a nested scope.
	Savepoint(name string, readOnly bool) Savepoint
	// SupportsIsolation refuses a level that the database does not have.
	SupportsIsolation(level sql.IsolationLevel) error
	// CheckScript refuses what a file cannot hold, and, with a *ControlError, a text
	// that would begin or end the transaction that it runs in.
	CheckScript(text string) error
	// Name is what the database that answers tx is called: a file by its base name.
	Name(ctx context.Context, tx Execer) (string, error)
	// TakesWrites asks, in a transaction that may write. An error may come with the
	// commit only.
	TakesWrites(ctx context.Context, tx Execer) (bool, error)
	// DropAll drops every object of the current schema.
	DropAll(ctx context.Context, tx Execer) error
	// Backup copies the database that the driver's connection conn reads.
	Backup(ctx context.Context, conn any, path string, progress func(done, total int)) error
	// Renew makes every open connection be replaced when it is next free. It
	// reports whether idle ones may be closed now.
	Renew() bool
	// Lag says how far the replica that answers tx is behind.
	Lag(ctx context.Context, tx Execer) (time.Duration, error)
	// LockSchema keeps other processes from changing the schema until the
	// transaction ends.
	LockSchema(ctx context.Context, tx Execer) error
}

// Handle is one *sql.DB to be.
type Handle struct {
	Connector   driver.Connector
	MaxOpen     int // 0 is no limit
	MaxIdle     int
	MaxLifetime time.Duration // 0 is for ever
	Replica     bool          // a copy that may lag or be away; the first handle stands in for it
	Keep        int           // how many idle connections stay when the load has gone; 0 is all
	// Gate is where sessions queue before they take a connection, first come,
	// first served; nil where they need not.
	Gate *Gate
}

// Open opens the handle with open.
func (h Handle) Open(open func(driver.Connector) *sql.DB) *sql.DB {
	db := open(h.Connector)
	db.SetMaxOpenConns(h.MaxOpen)
	db.SetMaxIdleConns(h.MaxIdle)
	db.SetConnMaxLifetime(h.MaxLifetime)
	return db
}

// Execer runs statements in a transaction.
type Execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// Savepoint is the SQL of a nested scope. Enter may be several statements.
type Savepoint struct {
	Enter, Release, Rollback string
}
