package engine

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

	Unavailable bool // the database could not be reached, or takes no more
	Timeout     bool // a limit of time ended it: of a lock, a statement, an idle transaction, a context
}
