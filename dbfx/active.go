package dbfx

import (
	"context"
	"sync"
	"time"
)

// drain knows the sessions that run, and ends them.
type drain struct {
	closing context.Context // done once no new session may begin
	stop    context.CancelFunc

	mu     sync.Mutex
	active map[*unit]struct{}
	empty  chan struct{} // closed when the last one ends after closing
	cut    int
}

// unit is one call of Run or View from outside: all its attempts. The drain's
// mutex guards what the drain uses.
type unit struct {
	drain *drain
	hooks []func(context.Context)
	event SessionEvent

	wait   context.CancelCauseFunc // ends the wait for a connection
	tx     *transaction            // nil between two attempts
	cancel context.CancelCauseFunc // ends the context of fn
	cut    bool
}

func newDrain() *drain {
	d := &drain{active: map[*unit]struct{}{}}
	d.closing, d.stop = context.WithCancel(context.Background())
	return d
}

// add lets a unit begin.
func (d *drain) add(u *unit) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closing.Err() != nil {
		return ErrClosed
	}
	d.active[u] = struct{}{}
	return nil
}

func (d *drain) remove(u *unit) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.active, u)
	if len(d.active) == 0 && d.empty != nil {
		close(d.empty)
		d.empty = nil
	}
}

// waits says that the unit waits for a connection; cancel ends that.
func (u *unit) waits(cancel context.CancelCauseFunc) {
	u.drain.mu.Lock()
	defer u.drain.mu.Unlock()
	u.wait = cancel
	if cancel != nil && u.drain.closing.Err() != nil {
		cancel(ErrClosed)
	}
}

// enter says that the unit has a transaction now.
func (u *unit) enter(r *transaction, cancel context.CancelCauseFunc) {
	u.drain.mu.Lock()
	defer u.drain.mu.Unlock()
	u.tx, u.cancel = r, cancel
	if u.cut {
		cancel(ErrClosed)
	}
}

func (u *unit) leave() {
	u.drain.mu.Lock()
	defer u.drain.mu.Unlock()
	u.tx, u.cancel = nil, nil
}

// close refuses new sessions, wakes those that wait for a connection, and
// returns how many run and a channel that is closed when they have ended.
func (d *drain) close() (int, <-chan struct{}) {
	d.stop()
	d.mu.Lock()
	defer d.mu.Unlock()
	for u := range d.active {
		if u.wait != nil {
			u.wait(ErrClosed)
		}
	}
	done := make(chan struct{})
	if len(d.active) == 0 {
		close(done)
		return 0, done
	}
	d.empty = done
	return len(d.active), done
}

// cutAll cancels the contexts of the sessions that still run.
func (d *drain) cutAll() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	for u := range d.active {
		if !u.cut {
			u.cut = true
			d.cut++
		}
		if u.cancel != nil {
			u.cancel(ErrClosed)
		}
	}
	return d.cut
}

// killAll ends the transactions of the sessions that did not heed the end of
// their context, so that they hold no lock and can commit nothing.
func (d *drain) killAll() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for u := range d.active {
		if u.tx != nil {
			u.tx.killed.Store(true)
			u.tx.cancel(ErrClosed)
		}
	}
}

// grace is what is kept of the time left for cutting sessions off.
func grace(left time.Duration) time.Duration { return min(left/4, rollbackTimeout) }
