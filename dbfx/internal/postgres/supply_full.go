package postgres

import (
	"database/sql/driver"
	"errors"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// refusedPause is the time between two tries at a server that has no place.
const refusedPause = 500 * time.Millisecond

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

// refuse keeps the requests waiting for a connection that the pool has. Those
// that database/sql holds idle by now it finds itself when it is sent back. The
// caller holds the lock.
func (s *supply) refuse(err error) {
	s.refused, s.refusedAt = err, time.Now()
	for range min(int(s.idle.Load()), len(s.waiting)) {
		s.answer(grant{err: &growthError{err}})
	}
}

// gone says that a connection is closed: a server without a place has one again.
func (s *supply) gone() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.alive--
	if s.refused != nil {
		s.refusedAt = time.Time{}
		s.feed()
	}
}
