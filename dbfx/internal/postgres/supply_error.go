package postgres

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// isFull reports whether the server has no place for another connection.
func isFull(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == "53300"
}

// growthError is the answer to a request for one more connection than the server
// admits, while the pool has an idle one: as driver.ErrBadConn it sends
// database/sql back to that.
type growthError struct{ err error }

func (e *growthError) Error() string        { return e.err.Error() }
func (e *growthError) Unwrap() error        { return e.err }
func (e *growthError) Is(target error) bool { return target == driver.ErrBadConn }

// waitError is the end of a wait for a connection that is still being dialled.
type waitError struct {
	ctx    error
	waited time.Duration
	last   error // of a dial before, nil if not known
}

func (e *waitError) Error() string {
	text := fmt.Sprintf("%s after %s without a connection to the server", e.ctx, e.waited.Round(time.Millisecond))
	if e.last != nil {
		text += ": " + e.last.Error()
	}
	return text
}

func (e *waitError) Unwrap() []error {
	if e.last == nil {
		return []error{e.ctx}
	}
	return []error{e.ctx, e.last}
}
