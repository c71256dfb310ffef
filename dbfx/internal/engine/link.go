package engine

// Link is a driver connection as a session sees it. A session reaches it through
// sql.Conn.Raw.
type Link interface {
	// Bind begins the hold of the connection by a session.
	Bind(h *Hold)
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
