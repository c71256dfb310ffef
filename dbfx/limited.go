package dbfx

import (
	"context"
	"sync"
	"time"
)

// limited is a context that a session's end runs under: with the values of the
// session's context, without its deadline, and with a limit of its own. Its timer
// starts when someone first asks for Done, as SQLite never does.
type limited struct {
	context.Context
	limit time.Duration

	mu    sync.Mutex
	done  chan struct{}
	timer *time.Timer
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
		} else {
			l.timer = time.AfterFunc(l.limit, func() { l.end(context.DeadlineExceeded) })
		}
	}
	return l.done
}

// Err implements context.Context.
func (l *limited) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// end ends the context with err, once.
func (l *limited) end(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return
	}
	l.err = err
	if l.timer != nil {
		l.timer.Stop()
	}
	if l.done != nil {
		close(l.done)
	}
}
