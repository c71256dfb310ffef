package postgres

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// The first dialsAtOnce dials start at once, and then one in a dialPace. Twenty at
// once make a server take twenty times as long for the first, and a connection that
// is there soon serves many requests: all twenty failed that had a second.
const (
	dialsAtOnce = 4
	dialPace    = 20 * time.Millisecond
)

// supply gives a pool its connections.
//
// A dial belongs to the pool and not to the request that happened to start it:
// with deadlines below CONNECT_TIMEOUT no request would ever see the end of a dial
// whose first host is frozen. A request gets what comes first: a dial that ends,
// whoever started it, a connection that came too late for another request, or one
// that goes back while the request waits. Only a dial that began before the request
// cannot fail it: what it met may be over.
//
// database/sql counts a request as an open connection, and a dial goes on only
// when its request has left. Dials and late connections are used up before
// another dial starts, so all together never exceed the limit of the pool. A connection
// that is closed while its ROLLBACK is on its way stands beside them until the answer.
type supply struct {
	open  func(context.Context) (*conn, error)
	keep  int  // late connections
	paced bool // dials do not all start at once

	life context.Context // of every dial
	end  context.CancelFunc
	work sync.WaitGroup

	wanted atomic.Int64 // requests that wait
	idle   atomic.Int64 // connections that database/sql holds and no one uses

	mu      sync.Mutex // guards what follows
	closed  bool
	waiting []*request
	flying  int       // dials
	begun   int       // dials, ever
	started time.Time // the last of them
	pace    *time.Timer
	alive   int // connections
	late    []lateConn
	sweep   *time.Timer
	last    error // of the last dial, nil when it succeeded

	refused   error // the server has no place for another connection
	refusedAt time.Time
	probe     *time.Timer
	sending   bool // sendBack is about to run
}

// request waits for a connection.
type request struct {
	granted chan grant
	begun   int // dials, when it came
	since   time.Time
}

// grant is what a request gets.
type grant struct {
	conn *conn
	err  error
	dial int // the number of the dial that it is from, 0 for none
}

var errSupplyClosed = errors.New("the pool is closed")

func newSupply(keep int, open func(context.Context) (*conn, error)) *supply {
	s := &supply{open: open, keep: keep}
	s.life, s.end = context.WithCancel(context.Background())
	return s
}

// take returns a connection, or ctx's end with what is known of the reason.
func (s *supply) take(ctx context.Context) (*conn, error) {
	for {
		c, r, err := s.ask()
		if err != nil {
			return nil, err
		}
		if c == nil {
			return s.await(ctx, r)
		}
		if c.ResetSession(ctx) == nil { // it has waited, as an idle one has
			return c, nil
		}
		_ = c.Close()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
}

// ask returns a late connection, or joins the requests that wait.
func (s *supply) ask() (*conn, *request, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, nil, errSupplyClosed
	}
	if c := s.fromLate(); c != nil {
		return c, nil, nil
	}
	r := &request{granted: make(chan grant, 1), begun: s.begun, since: time.Now()}
	s.waiting = append(s.waiting, r)
	s.wanted.Add(1)
	s.feed()
	if s.refused != nil {
		s.sendBackIn(returnPause)
	}
	return nil, r, nil
}

func (s *supply) await(ctx context.Context, r *request) (*conn, error) {
	start := time.Now()
	select {
	case g := <-r.granted:
		return r.accept(g)
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.waiting, r); i >= 0 {
		s.waiting = slices.Delete(s.waiting, i, i+1)
		s.wanted.Add(-1)
		return nil, &waitError{ctx: ctx.Err(), waited: time.Since(start), last: s.last}
	}
	return r.accept(<-r.granted) // database/sql takes it into the pool, whether ctx has ended or not
}

// accept returns what g holds. A connection that another request's dial had reached
// before may have died since, as an idle one may.
func (r *request) accept(g grant) (*conn, error) {
	if g.conn != nil && g.dial > 0 && g.dial <= r.begun {
		g.conn.reused, g.conn.joined = true, true
	}
	return g.conn, g.err
}

// feed starts as many dials as requests wait. The caller holds the lock.
func (s *supply) feed() {
	if s.closed {
		return
	}
	if s.alive == 0 {
		s.refused = nil // no connection could come back
	}
	most := len(s.waiting)
	if s.refused != nil && most > 0 {
		most = 1
		if pause := refusedPause - time.Since(s.refusedAt); pause > 0 {
			s.probe = s.after(s.probe, pause)
			return
		}
	}
	for s.flying < most {
		if wait := dialPace - time.Since(s.started); s.paced && s.flying >= dialsAtOnce && wait > 0 {
			s.pace = s.after(s.pace, wait)
			return
		}
		s.flying++
		s.begun++
		s.started = time.Now()
		number := s.begun
		s.work.Go(func() { s.dial(number) })
	}
}

// after feeds again after a pause, and stops the timer of another one.
func (s *supply) after(other *time.Timer, pause time.Duration) *time.Timer {
	if other != nil {
		other.Stop()
	}
	return time.AfterFunc(pause, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.feed()
	})
}

// dial opens one connection for whoever waits first when it has ended.
func (s *supply) dial(number int) {
	c, err := s.open(s.life)
	s.mu.Lock()
	s.flying--
	s.last = err
	if err == nil {
		s.refused = nil
		s.alive++
	}
	switch {
	case err == nil && s.give(grant{conn: c, dial: number}):
		c = nil
	case err != nil && isFull(err) && s.alive > 0:
		s.refuse(err)
	case err != nil:
		s.refused = nil
		s.fail(number, err)
	}
	s.feed()
	s.mu.Unlock()
	if c != nil {
		_ = c.Close()
	}
}

// answer gives g to the request that has waited longest. The caller holds the
// lock.
func (s *supply) answer(g grant) bool {
	if len(s.waiting) == 0 {
		return false
	}
	s.waiting[0].granted <- g
	s.waiting = slices.Delete(s.waiting, 0, 1)
	s.wanted.Add(-1)
	return true
}

// fail tells the request that has waited longest why a dial failed. It is not for
// one that came when the dial had begun: that one has a dial of its own yet. The
// caller holds the lock.
func (s *supply) fail(number int, err error) {
	if len(s.waiting) > 0 && s.waiting[0].begun < number {
		s.answer(grant{err: err})
	}
}

// came says that there is one more connection.
func (s *supply) came() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.alive++
}

// join lets a dial that is not for the pool end with it.
func (s *supply) join(ctx context.Context) (joined context.Context, leave func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, nil, errSupplyClosed
	}
	s.work.Add(1)
	joined, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(s.life, cancel)
	return joined, func() { stop(); cancel(); s.work.Done() }, nil
}

// close ends the dials and closes the late connections, and waits for both.
func (s *supply) close() {
	s.end()
	s.mu.Lock()
	s.closed = true
	for s.answer(grant{err: errSupplyClosed}) {
		continue
	}
	for _, timer := range []*time.Timer{s.sweep, s.probe, s.pace} {
		if timer != nil {
			timer.Stop()
		}
	}
	late := s.late
	s.late = nil
	s.mu.Unlock()
	for _, c := range late {
		_ = c.Close()
	}
	s.work.Wait()
}
