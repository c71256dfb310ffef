package dbfx

import (
	"context"
	"slices"
	"sync"
	"time"
)

// These bound a clean-up: ROLLBACK, or the way back to a savepoint. A connection that
// takes longer is discarded.
const (
	rollbackTimeout = 5 * time.Second
	rollbackAtLeast = time.Second // behind the caller's deadline
)

// cleanUpTime is how long a clean-up of the session may take whose context is ctx: no
// more than is left of the caller's time, but enough for a server that answers.
func cleanUpTime(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return rollbackTimeout
	}
	return min(max(time.Until(deadline), rollbackAtLeast), rollbackTimeout)
}

// limited is a context that a session's end runs under: with the values of the
// session's context, without its deadline, and with a limit of its own. The limit
// begins when someone first asks for the end, as SQLite never does.
type limited struct {
	context.Context
	limit time.Duration
	ends  *deadlines

	mu    sync.Mutex
	until deadline
	begun bool
	done  chan struct{}
	after []*func() // to run at the end
	err   error
}

// Deadline implements context.Context.
func (*limited) Deadline() (time.Time, bool) { return time.Time{}, false }

// Done implements context.Context.
func (l *limited) Done() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.done == nil {
		l.done = make(chan struct{})
		if l.err != nil {
			close(l.done)
		}
	}
	l.begin()
	return l.done
}

// Err implements context.Context.
func (l *limited) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// AfterFunc is what context.AfterFunc uses where a context has it: it would start a
// goroutine else.
func (l *limited) AfterFunc(f func()) (stop func() bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		go f()
		return func() bool { return false }
	}
	l.begin()
	l.after = append(l.after, &f)
	return func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		i := slices.Index(l.after, &f)
		if i >= 0 {
			l.after = slices.Delete(l.after, i, i+1)
		}
		return i >= 0
	}
}

// begin begins the limit. The mutex is held.
func (l *limited) begin() {
	if l.begun || l.err != nil {
		return
	}
	l.begun = true
	l.ends.set(&l.until, time.Now().Add(l.limit), func() { l.end(context.DeadlineExceeded) })
}

// end ends the context with err, once.
func (l *limited) end(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return
	}
	l.err = err
	l.ends.stop(&l.until)
	if l.done != nil {
		close(l.done)
	}
	for _, f := range l.after {
		go (*f)()
	}
	l.after = nil
}
