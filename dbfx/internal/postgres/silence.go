package postgres

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"time"

	"github.com/sergas/dbkit/dbfx/internal/engine"
)

// enoughSilence is how long a request may be unanswered, on a connection that had
// idled, before a new connection is asked whether the server answers at all.
const enoughSilence = 250 * time.Millisecond

// silences are the requests that wait for an answer on connections that had idled.
// Such a connection may have been dropped on its way, by a NAT for one, without a
// word to either end.
//
// Time alone proves nothing: a server that is busy is silent too. A new connection
// is the proof. When it was opened and answered after a request that still waits,
// the connection of that request is dead. All connections that are as old are
// replaced then, and no one waits for them any longer. When each request found out
// for itself, 35 of 40 failed that had a second.
type silences struct {
	mu      sync.Mutex
	waiting map[*silence]bool // whether it was doubted
	asking  bool
}

// silence is the wait for one answer.
type silence struct {
	of     *connector
	number int64 // of the connection's dial
	timer  *time.Timer
	lasts  func() bool // nil for a wait that only heard ends
	give   func()      // gives the connection up
}

// idled reports whether the connection may have died while no one looked.
func (c *conn) idled() bool { return c.reused && time.Since(c.returned) >= lookAfter }

// listen begins the wait for an answer on c, to a request under ctx; heard ends it.
func (c *conn) listen(ctx context.Context, lasts func() bool, give func()) *silence {
	quiet := enoughSilence
	if at, ok := engine.Deadline(ctx); ok {
		quiet = min(quiet, time.Until(at)/6)
	}
	s := &silence{of: c.connector, number: c.number, lasts: lasts, give: give}
	all := &s.of.silences
	all.mu.Lock()
	defer all.mu.Unlock()
	if all.waiting == nil {
		all.waiting = map[*silence]bool{}
	}
	all.waiting[s] = false
	s.timer = time.AfterFunc(quiet, s.doubt)
	return s
}

// heard ends the wait. It may be called on nil, and twice.
func (s *silence) heard() {
	if s == nil {
		return
	}
	s.timer.Stop()
	all := &s.of.silences
	all.mu.Lock()
	defer all.mu.Unlock()
	delete(all.waiting, s)
}

// stands reports whether the answer has not come. The caller holds the lock.
func (s *silence) stands() bool {
	_, waits := s.of.silences.waiting[s]
	return waits && (s.lasts == nil || s.lasts())
}

// doubt has the server asked. One question answers all doubts.
func (s *silence) doubt() {
	all := &s.of.silences
	all.mu.Lock()
	defer all.mu.Unlock()
	if s.stands() {
		all.waiting[s] = true
		s.of.ask()
	}
}

// ask opens one more connection and draws the conclusion from it, unless that is
// under way. The caller holds the lock of the silences.
func (c *connector) ask() {
	all := &c.silences
	if all.asking {
		return
	}
	var doubted []*silence
	for s, doubt := range all.waiting {
		if doubt {
			doubted = append(doubted, s)
		}
	}
	older := c.dials.Load()
	all.asking = c.supply.extra(func(fresh *conn, err error) (proof bool) {
		answered := fresh != nil && fresh.answers(c.supply.life) || isFull(err) && !c.opt.Pooler
		all.mu.Lock()
		defer all.mu.Unlock()
		all.asking = false
		for _, s := range doubted {
			proof = proof || answered && s.stands()
		}
		if proof {
			c.replace(older)
		}
		return proof
	})
}

// answers reports whether the server answers on a new connection. A pooler opens one
// by itself; its answer to a question has waited behind all who asked before.
func (c *conn) answers(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	return c.stdConn.Conn().PgConn().Ping(ctx) == nil
}

// replace makes the connections of the first dials be replaced, also those on which
// someone waits for an answer. The caller holds the lock of the silences.
func (c *connector) replace(dials int64) {
	c.expireFirst(dials)
	for s := range c.silences.waiting {
		if s.number <= dials {
			s.give()
		}
	}
}

// below returns the line that TLS, if any, stands on. Its Close says nothing, and
// waits for no one.
func below(line net.Conn) net.Conn {
	if t, ok := line.(*tls.Conn); ok {
		return t.NetConn()
	}
	return line
}
