package dbfx

import (
	"context"
	"sync"
	"time"
)

// active knows the sessions that run, and ends them: Close refuses new ones,
// cancels those that are left, and at last ends their transactions.
type active struct {
	closing context.Context // done once no new session may begin
	stop    context.CancelFunc

	mu      sync.Mutex
	first   *work // a list: an entry costs no allocation
	running int
	empty   chan struct{} // closed when the last one ends after closing
	cut     int
	kills   sync.WaitGroup
}

// work is one call of Run or View from outside: what it was given, and what
// became of it in all its attempts. The mutex of active guards the last group.
type work struct {
	sessions *Sessions
	fn       func(context.Context, *Session) error
	options  sessionOptions
	readOnly bool

	hooks []func(context.Context)
	event SessionEvent
	live  live // what others may see of it

	previous, next *work
	tx             *transaction // nil between two attempts
	phase          phase
	cut            bool // its context was cancelled by Close
}

// phase is how far an attempt is.
type phase int

const (
	between   phase = iota // two attempts
	waiting                // for a connection
	working                // in fn, or at its end
	committed              // only the hooks are left
)

func newActive() *active {
	a := &active{}
	a.closing, a.stop = context.WithCancel(context.Background())
	return a
}

// add lets work begin.
func (a *active) add(w *work) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closing.Err() != nil {
		return ErrClosed
	}
	w.next = a.first
	if w.next != nil {
		w.next.previous = w
	}
	a.first = w
	a.running++
	return nil
}

// each calls fn for every session that runs. It must be quick.
func (a *active) each(fn func(w *work)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for w := a.first; w != nil; w = w.next {
		fn(w)
	}
}

func (a *active) remove(w *work) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if w.previous == nil {
		a.first = w.next
	} else {
		w.previous.next = w.next
	}
	if w.next != nil {
		w.next.previous = w.previous
	}
	a.running--
	if a.running == 0 && a.empty != nil {
		close(a.empty)
		a.empty = nil
	}
}

// enter says how far the attempt tx of w is; nil is none. It cancels the attempt's
// context where Close has begun and the attempt would wait for a connection, and
// where Close has cut the work between two attempts.
func (a *active) enter(w *work, tx *transaction, p phase) {
	a.mu.Lock()
	defer a.mu.Unlock()
	w.tx, w.phase = tx, p
	if tx != nil && (w.cut || p == waiting && a.closing.Err() != nil) {
		tx.cancel(ErrClosed)
	}
}

// close refuses new sessions, wakes those that wait for a connection, and
// returns how many run and a channel that is closed when they have ended.
func (a *active) close() (int, <-chan struct{}) {
	a.stop()
	a.mu.Lock()
	defer a.mu.Unlock()
	for w := a.first; w != nil; w = w.next {
		if w.phase == waiting {
			w.tx.cancel(ErrClosed)
		}
	}
	done := make(chan struct{})
	if a.running == 0 {
		close(done)
		return 0, done
	}
	a.empty = done
	return a.running, done
}

// cutAll cancels the contexts of the sessions that still run. Sessions that have
// committed are not cut: nothing is taken from them.
func (a *active) cutAll() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	for w := a.first; w != nil; w = w.next {
		if w.phase == committed {
			continue
		}
		if !w.cut {
			w.cut = true
			a.cut++
		}
		if w.tx != nil {
			w.tx.cancel(ErrClosed)
		}
	}
	return a.cut
}

// killAll ends the transactions of the sessions that did not heed the end of
// their context, so that they hold no lock and can commit nothing. It waits for
// that, up to ctx.
func (a *active) killAll(ctx context.Context) {
	a.mu.Lock()
	for w := a.first; w != nil; w = w.next {
		if w.phase == working {
			a.kills.Go(w.tx.kill)
		}
	}
	a.mu.Unlock()
	killed := make(chan struct{})
	go func() {
		a.kills.Wait()
		close(killed)
	}()
	wait(ctx, killed)
}

// grace is what is kept of the time left for cutting sessions off.
func grace(left time.Duration) time.Duration { return min(left/4, rollbackTimeout) }
