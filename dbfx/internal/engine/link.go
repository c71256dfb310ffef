package engine

import (
	"context"
	"database/sql/driver"
)

// Link is a driver connection as a session sees it. A session finds it with
// sql.Conn.Raw, and calls Start, Commit, Rollback and SetReadOnly inside of Raw
// alone, so that they never run beside a statement.
//
// From Start to Unbind the connection refuses every statement that would run
// outside of the transaction, and BeginTx adopts the transaction: the *sql.Tx that
// comes of it can run statements, and its own Commit rolls back.
type Link interface {
	// Start begins a transaction for a session, which h tells of from now on. ctx
	// bounds it, and nothing after it.
	Start(ctx context.Context, h *Hold, opts driver.TxOptions) error
	// Commit commits. ctx bounds it: it has no deadline of its caller's.
	Commit(ctx context.Context) error
	// Rollback rolls back. It returns nil where there is nothing left to roll
	// back, and an error where the connection must not be used again.
	Rollback(ctx context.Context) error
	// Free makes the end of what BeginTx adopted do nothing: the session ends it.
	Free()
	// Unbind ends the hold, after Commit or Rollback, or a Start that failed.
	Unbind()
	// State says how the transaction stands. It may be called at any time.
	State() State
	// Lend says that the connection is given out of hand, to a use that ctx bounds.
	// Note follows.
	Lend(ctx context.Context)
	// Note takes over how the connection stands after err, which something other
	// than its methods has met on it.
	Note(err error)
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
	// Finished says that the user of SQLTx ended it. It was rolled back.
	Finished bool
	// First is the first error of a statement in this scope.
	First error
}
