package sqlite

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// tidyInterval is how often a shelf with more connections than it keeps is tidied.
// A connection that nobody took for so long is closed.
const tidyInterval = 5 * time.Second

// shelf holds the real connections of one kind that are free. Who takes the one
// that was used last finds its caches warm; who waits is served in order.
//
// A wait is bounded, because the one who waits may be the one who is waited for:
// a loop over rows holds a connection while it asks for another. Then one more is
// opened, and closed again when it has been idle.
type shelf struct {
	engine   *Engine
	pragmas  []Pragma
	readOnly bool          // its connections refuse writes
	soft     int           // how many are opened without a wait
	patience time.Duration // the wait for one to come back, before one more is opened
	keep     int           // how many stay though nobody uses them

	mu      sync.Mutex
	free    []*realConn // the last used last
	waiters []chan *realConn
	open    map[*realConn]struct{} // all, free or not
	count   int                    // open, or being opened
	waits   int64                  // how many have waited, and how long together
	waited  time.Duration
	tidier  *time.Timer
	closed  bool
}

var errClosed = errors.New("sql: database is closed")

// take returns a connection for c.
func (s *shelf) take(ctx context.Context) (*realConn, error) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, errClosed
	}
	if n := len(s.free); n > 0 {
		r := s.free[n-1]
		s.free = s.free[:n-1]
		s.mu.Unlock()
		return r, nil
	}
	if s.count < s.soft {
		s.count++
		s.mu.Unlock()
		return s.add(ctx)
	}
	turn := make(chan *realConn, 1)
	s.waiters = append(s.waiters, turn)
	s.mu.Unlock()
	return s.await(ctx, turn)
}

// await waits for a connection to come back, and opens one more when none does.
func (s *shelf) await(ctx context.Context, turn chan *realConn) (*realConn, error) {
	timer := time.NewTimer(s.patience)
	defer timer.Stop()
	start := time.Now()
	defer func() {
		s.mu.Lock()
		s.waits, s.waited = s.waits+1, s.waited+time.Since(start)
		s.mu.Unlock()
	}()
	select {
	case r := <-turn:
		return s.handed(ctx, r)
	case <-timer.C:
	case <-ctx.Done():
	}
	s.mu.Lock()
	i := slices.Index(s.waiters, turn)
	if i < 0 { // it was handed over just now
		s.mu.Unlock()
		return s.handed(ctx, <-turn)
	}
	s.waiters = slices.Delete(s.waiters, i, i+1)
	if ctx.Err() != nil {
		s.mu.Unlock()
		return nil, context.Cause(ctx)
	}
	s.count++
	s.mu.Unlock()
	return s.add(ctx)
}

// handed is what a waiter does with its turn: nil is the right to open one.
func (s *shelf) handed(ctx context.Context, r *realConn) (*realConn, error) {
	if r != nil {
		return r, nil
	}
	return s.add(ctx)
}

// add opens a connection, which is counted already.
func (s *shelf) add(ctx context.Context) (*realConn, error) {
	r, err := s.connect(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil && s.closed {
		_ = r.close()
		err = errClosed
	}
	if err != nil {
		s.forget(nil)
		return nil, err
	}
	s.open[r] = struct{}{}
	if s.count > s.keep && s.tidier == nil {
		s.tidier = time.AfterFunc(tidyInterval, s.tidy)
	}
	return r, nil
}

// put takes a clean connection back.
func (s *shelf) put(r *realConn) {
	s.mu.Lock()
	if s.closed || s.engine.outdated(r) {
		s.forget(r)
		s.mu.Unlock()
		_ = r.close()
		return
	}
	r.used = true
	if len(s.waiters) > 0 {
		s.waiters[0] <- r
		s.waiters = slices.Delete(s.waiters, 0, 1)
	} else {
		s.free = append(s.free, r)
	}
	s.mu.Unlock()
}

// discard closes a connection that nobody may have any more.
func (s *shelf) discard(r *realConn) {
	s.mu.Lock()
	s.forget(r)
	s.mu.Unlock()
	_ = r.close()
}

// forget counts r out; who waits for it may open another. The mutex is held.
func (s *shelf) forget(r *realConn) {
	delete(s.open, r)
	if len(s.waiters) > 0 && !s.closed {
		s.waiters[0] <- nil
		s.waiters = slices.Delete(s.waiters, 0, 1)
		return // it is counted in place of r
	}
	s.count--
}

// tidy closes the connections above s.keep that nobody has used since the last
// time.
func (s *shelf) tidy() {
	s.mu.Lock()
	var idle []*realConn
	for i := 0; i < len(s.free) && s.count > s.keep; {
		r := s.free[i]
		if r.used {
			r.used = false
			i++
			continue
		}
		s.free = slices.Delete(s.free, i, i+1)
		s.forget(r)
		idle = append(idle, r)
	}
	s.tidier = nil
	if s.count > s.keep && !s.closed {
		s.tidier = time.AfterFunc(tidyInterval, s.tidy)
	}
	s.mu.Unlock()
	for _, r := range idle {
		_ = r.close()
	}
}

// close closes the free connections, and the others when they come back.
func (s *shelf) close() error {
	s.mu.Lock()
	s.closed = true
	if s.tidier != nil {
		s.tidier.Stop()
		s.tidier = nil
	}
	for _, turn := range s.waiters {
		turn <- nil // add finds the shelf closed
		s.count++
	}
	s.waiters = nil
	s.mu.Unlock()
	return s.closeFree(func(*realConn) bool { return true })
}

func (s *shelf) closeFree(which func(*realConn) bool) error {
	s.mu.Lock()
	var list []*realConn
	for _, r := range s.free {
		if which(r) {
			list = append(list, r)
		}
	}
	s.free = slices.DeleteFunc(s.free, which)
	for _, r := range list {
		s.forget(r)
	}
	s.mu.Unlock()
	var errs []error
	for _, r := range list {
		errs = append(errs, r.close())
	}
	return errors.Join(errs...)
}
