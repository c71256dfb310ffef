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

// returnPause is how long a request that the server has no place for waits for a
// connection to go back, before it is sent to one that idles.
const returnPause = 5 * time.Millisecond

// growthError is the answer to a request for one more connection than the server
// admits, while the pool has an idle one: as driver.ErrBadConn it sends
// database/sql back to that. A bare statement is sent back twice, and the third
// time it is the end: 11 of 4,000 failed when it came at once.
type growthError struct{ err error }

func (e *growthError) Error() string        { return e.err.Error() }
func (e *growthError) Unwrap() error        { return e.err }
func (e *growthError) Is(target error) bool { return target == driver.ErrBadConn }

// refuse keeps the requests waiting for a connection that the pool has. One that
// is in use goes to them when it goes back. The caller holds the lock.
func (s *supply) refuse(err error) {
	s.refused, s.refusedAt = err, time.Now()
	s.sendBackIn(returnPause)
}

// sendBackIn has sendBack run after a pause. The caller holds the lock.
func (s *supply) sendBackIn(pause time.Duration) {
	if !s.sending && !s.closed && len(s.waiting) > 0 {
		s.sending = true
		time.AfterFunc(pause, s.sendBack)
	}
}

// sendBack answers as many requests as connections idle: database/sql finds those
// itself. They went back just before the requests came, and stay where they are
// while nothing else runs. Each request is looked at once: what goes back later goes
// to it.
func (s *supply) sendBack() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sending = false
	if s.refused == nil {
		return // there are dials for them
	}
	for n := s.idle.Load(); n > 0 && len(s.waiting) > 0 && time.Since(s.waiting[0].since) >= returnPause; n-- {
		s.answer(grant{err: &growthError{s.refused}})
	}
	for _, r := range s.waiting {
		if left := returnPause - time.Since(r.since); left > 0 {
			s.sendBackIn(left)
			return
		}
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
