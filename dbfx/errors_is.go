package dbfx

import (
	"context"
	"errors"
	"strings"

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

// IsUnavailable reports whether the database could not be asked: it cannot be
// reached, is starting or shutting down, has too many connections, the pool is
// full, or the Database is closed. An HTTP service answers 503 with Retry-After.
//
// It is never true of ErrCommitUnknown: what was asked may have been done. Errors
// of the network look alike wherever they come from: ask it of what Run, View and
// statements return, not of calls to other services within fn.
func IsUnavailable(err error) bool {
	switch {
	case err == nil || errors.Is(err, ErrCommitUnknown):
		return false
	case errors.Is(err, ErrCheckoutTimeout) || isClosed(err):
		return true
	}
	return classify(err).Unavailable
}

// IsTimeout reports whether a limit of time ended the work: the wait for a lock,
// a statement, an idle transaction, the checkout (POOL_TIMEOUT) or the deadline
// of a context. A context that was cancelled is none. PostgreSQL has one code for
// statement_timeout and for a statement that somebody cancelled at the server.
//
// It is never true of ErrCommitUnknown.
func IsTimeout(err error) bool {
	switch {
	case err == nil || errors.Is(err, ErrCommitUnknown):
		return false
	case errors.Is(err, ErrCheckoutTimeout):
		return true
	}
	return classify(err).Timeout
}

// ErrorClass names what went wrong in a word or two, for logs, metrics and
// labels: Health's classes (refused, dns, tls, auth, timeout, lost, wrong role, starting,
// too many connections, no such database, read-only, busy, conflict, constraint, disk
// full, cannot open, i/o, damaged), and closed, pool full, commit unknown, rolled
// back and canceled. Anything else is "error"; nil is "". It never holds a value.
func ErrorClass(err error) string {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, ErrCommitUnknown):
		return "commit unknown"
	case isClosed(err):
		return "closed"
	case errors.Is(err, ErrCheckoutTimeout):
		return checkoutClass(err)
	}
	class := classify(err).Class
	switch {
	case class != "error":
		return class
	case errors.Is(err, context.Canceled):
		return "canceled"
	case errors.Is(err, ErrRolledBack):
		return "rolled back"
	}
	return class
}

// checkoutClass tells a full pool from a server that does not let one in. Who
// held the right to write on SQLite is no class of its own.
func checkoutClass(err error) string {
	var timeout *CheckoutTimeoutError
	if errors.As(err, &timeout) && unlessContext(timeout.Err) != nil {
		if f := classify(timeout.Err); f.Unavailable {
			return f.Class
		}
	}
	return "pool full"
}

// isClosed reports whether err says that the Database is. database/sql has no
// name for its own error.
func isClosed(err error) bool {
	return errors.Is(err, ErrClosed) || strings.Contains(err.Error(), "sql: database is closed")
}

// classify asks both engines: an error tells whose it is. An error that both understand
// alike (a deadline, a lost connection) is PostgreSQL's, which knows more of it.
func classify(err error) engine.Fault {
	if err == nil {
		return engine.Fault{}
	}
	switch f := sqlite.Classify(err); f.Class {
	case "error", "timeout", "lost":
		return postgres.Classify(err)
	default:
		return f
	}
}
