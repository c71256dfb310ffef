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
	// DropAll drops every object of the current schema.
	DropAll(ctx context.Context, tx Execer) error
	// Backup copies the database that the driver's connection conn reads.
	Backup(ctx context.Context, conn any, path string, progress func(done, total int)) error
	// Renew makes every open connection be replaced when it is next free. It
	// reports whether idle ones may be closed now.
	Renew() bool
	// OnBegin is what a session runs first; "" is nothing.
	OnBegin() string
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

// Outcome is what a failed COMMIT left behind.
type Outcome int

// The outcomes. Unknown is the zero value: what is not known for sure.
const (
	Unknown Outcome = iota
	NotCommitted
	// RolledBack: the server answered ROLLBACK, as the transaction had failed.
	RolledBack
)

// Kind is what an error means to a program.
type Kind int

// The kinds of an error.
const (
	Other Kind = iota
	Unique
	ForeignKey
	NotNull
	Check
	ReadOnly
	Serialization // the same transaction may succeed when it is run again
	Lost          // the connection is gone
)

// Fault is an error, understood.
type Fault struct {
	Kind       Kind
	Constraint string // the constraint's name, or its columns
	Class      string // for health: "refused", "auth", "timeout", … never a value
}

// Link is a driver connection as a session sees it. A session reaches it through
// sql.Conn.Raw.
type Link interface {
	// Bind begins the hold of the connection by a session of this name.
	Bind(session string)
	// Permit lets the next Commit commit. Without it the Commit of a bound
	// connection rolls back: a session alone may commit what it will report on.
	Permit()
	// Unbind ends the hold.
	Unbind()
	// State says how the transaction stands.
	State() State
	// Forgive forgets the failed statement that a savepoint has undone.
	Forgive()
	// SetReadOnly makes the connection refuse writes, where the database cannot
	// make a transaction do so.
	SetReadOnly(on bool) error
}

// State is how a session's transaction stands.
type State struct {
	// Ended says that the transaction is no more, though no one asked dbfx to end
	// it.
	Ended bool
	// Left says that a statement ended it and what became of it is not known.
	Left bool
	// First is the first error of a statement in this scope.
	First error
}
