package dbfx

import (
	"errors"

	"github.com/sergas/dbkit/dbfx/internal/engine"
	"github.com/sergas/dbkit/dbfx/internal/postgres"
	"github.com/sergas/dbkit/dbfx/internal/sqlite"
)

// IsUniqueViolation reports whether err, on either engine and however wrapped,
// is of a unique, primary key or exclusion constraint.
func IsUniqueViolation(err error) bool { return classify(err).Kind == engine.Unique }

// IsForeignKeyViolation reports whether err is of a foreign key.
func IsForeignKeyViolation(err error) bool { return classify(err).Kind == engine.ForeignKey }

// IsNotNullViolation reports whether err is of a column that must not be NULL.
func IsNotNullViolation(err error) bool { return classify(err).Kind == engine.NotNull }

// IsCheckViolation reports whether err is of a CHECK.
func IsCheckViolation(err error) bool { return classify(err).Kind == engine.Check }

// IsRetryable reports whether the whole transaction was rolled back and may
// succeed when it is run again: a serialization failure, a deadlock, a busy
// SQLite. It is what Retry repeats.
func IsRetryable(err error) bool {
	return err != nil && !errors.Is(err, ErrCommitUnknown) && classify(err).Kind == engine.Serialization
}

// Constraint returns the name of the constraint that err violates, or its
// columns where the database tells those ("users.email"), or "".
func Constraint(err error) string { return classify(err).Constraint }

// classify asks both engines: an error tells whose it is.
func classify(err error) engine.Fault {
	if err == nil {
		return engine.Fault{}
	}
	if f := postgres.Classify(err); f.Kind != engine.Other || f.Constraint != "" {
		return f
	}
	return sqlite.Classify(err)
}
