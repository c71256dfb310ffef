package postgres

import (
	"slices"
	"time"
)

// lateKeep is how long a connection waits that came too late for its request.
const lateKeep = 30 * time.Second

type lateConn struct {
	*conn
	since time.Time
}

// extra opens a connection that no request has asked for. wanted is told of it
// before anyone can have it, or of the failure, and reports whether it is to wait
// for the next request where none waits now. extra reports whether it has begun.
func (s *supply) extra(wanted func(*conn, error) bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.work.Go(func() {
		c, err := s.open(s.life)
		if c != nil {
			s.came()
		}
		if keep := wanted(c, err); c != nil && !s.offer(c, keep) {
			_ = c.Close()
		}
	})
	return true
}

// offer gives c to a request that waits, or to the next one if it may be kept.
func (s *supply) offer(c *conn, keep bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return (keep || len(s.waiting) > 0) && s.give(grant{conn: c})
}

// fromLate returns a late connection, nil if there is none. The caller holds the
// lock.
func (s *supply) fromLate() *conn {
	n := len(s.late)
	if n == 0 {
		return nil
	}
	c := s.late[n-1].conn
	s.late = s.late[:n-1]
	return c
}

// give passes on the connection in g, or keeps it for the next request. It reports
// false for one that no one can have. The caller holds the lock.
func (s *supply) give(g grant) bool {
	if s.closed {
		return false
	}
	c := g.conn
	if s.answer(g) {
		return true
	}
	if len(s.late) >= s.keep {
		return false
	}
	s.late = append(s.late, lateConn{c, time.Now()})
	if s.sweep == nil {
		s.sweep = time.AfterFunc(lateKeep, s.drop)
	}
	return true
}

// drop closes the late connections for which no request has come.
func (s *supply) drop() {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	n := 0
	for n < len(s.late) && time.Since(s.late[n].since) >= lateKeep {
		n++
	}
	old := slices.Clone(s.late[:n])
	s.late, s.sweep = slices.Delete(s.late, 0, n), nil
	if len(s.late) > 0 {
		s.sweep = time.AfterFunc(lateKeep-time.Since(s.late[0].since), s.drop)
	}
	s.work.Add(1)
	defer s.work.Done()
	s.mu.Unlock()
	for _, c := range old {
		_ = c.Close()
	}
}

// handOver passes on a connection that its user has given back. It reports false
// when it must be closed.
func (s *supply) handOver(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.give(grant{conn: c})
}
