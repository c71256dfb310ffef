package postgres

import (
	"context"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sergas/dbkit/dbfx/internal/engine"
)

// dialError is a dial that failed: what each address answered, the weightiest
// answer first.
type dialError struct {
	attrs string // target_session_attrs
	hosts []hostError
}

type hostError struct {
	addr string
	err  error
}

// Error implements error.
func (e *dialError) Error() string { return "connect to PostgreSQL: " + e.reasons(true) }

// Unwrap returns the answers.
func (e *dialError) Unwrap() []error {
	list := make([]error, len(e.hosts))
	for i, h := range e.hosts {
		list[i] = h.err
	}
	return list
}

// reasons lists what each address answered, after its name where there are
// several or it is asked for.
func (e *dialError) reasons(named bool) string {
	var list []string
	for _, h := range e.hosts {
		reason, _, _ := explain(h.err)
		if role(h.err) {
			reason += ", target_session_attrs=" + e.attrs
		}
		if named || len(e.hosts) > 1 {
			reason = h.addr + ": " + reason
		}
		list = append(list, reason)
	}
	return strings.Join(list, "; ")
}

// later reports whether the same dial can succeed later.
func (e *dialError) later() bool {
	for _, h := range e.hosts {
		if _, _, later := explain(h.err); !later {
			return false
		}
	}
	return true
}

// fault is that of the weightiest answer; a dial that can succeed later has lost
// no more than a connection.
func (e *dialError) fault() engine.Fault {
	f := Classify(e.hosts[0].err)
	if e.later() {
		f.Kind, f.Unavailable = engine.Lost, true
	}
	return f
}

// weight orders the answers: that of a person who must act, that of a server in
// another role, that of any other server, and silence.
func (h hostError) weight() int {
	var pg *pgconn.PgError
	switch _, _, later := explain(h.err); {
	case !later:
		return 0
	case role(h.err):
		return 1
	case errors.As(h.err, &pg):
		return 2
	}
	return 3
}

// errRole is a server that is open and is not, or no longer, what
// target_session_attrs asks for.
var errRole = errors.New("the server is no longer what target_session_attrs asks for")

// role reports whether err says that a server is not what target_session_attrs
// asks for.
func role(err error) bool {
	for _, mismatch := range []error{
		errRole, pgconn.ErrReadOnlyConnection, pgconn.ErrReadWriteConnection, pgconn.ErrPrimaryConnection, pgconn.ErrStandbyConnection,
	} {
		if errors.Is(err, mismatch) {
			return true
		}
	}
	return false
}

// decisive finds the answer that counts among those of one address. With
// sslmode=prefer pgx joins "refused TLS", which is no more than the reason for the
// second try, and what came of that.
func decisive(err error) error {
	var dial *pgconn.ConnectError
	if !errors.As(err, &dial) {
		return err
	}
	list := []error{dial.Unwrap()}
	if joined, ok := list[0].(interface{ Unwrap() []error }); ok {
		list = joined.Unwrap()
	}
	last := list[len(list)-1]
	for i := len(list) - 1; i >= 0; i-- {
		var pg *pgconn.PgError
		if errors.As(list[i], &pg) {
			return list[i]
		}
	}
	if errors.Is(last, context.Canceled) { // of the race, which the patience ended
		return context.DeadlineExceeded
	}
	return last
}
