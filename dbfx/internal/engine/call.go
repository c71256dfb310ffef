package engine

import (
	"context"
	"sync/atomic"
	"time"
)

// Call is one statement of a session, and the context under which database/sql
// runs it. It is never done: database/sql would start a goroutine to watch it,
// which costs more than a small query. The driver's connection watches the real
// context, which Reveal finds, and ends the call when the statement has ended.
type Call struct {
	real    context.Context
	release func() // ends what keeps the real context; nil where nothing does
	ended   atomic.Bool
	refused atomic.Pointer[error] // of Cut

	hold     *Hold // of a statement that did not come through the Session; see Tracer
	returned atomic.Bool
}

var _ context.Context = (*Call)(nil)

// NewCall makes the call of a statement under ctx. release, unless it is nil, is
// called once when the statement has ended.
func NewCall(ctx context.Context, release func()) *Call {
	return &Call{real: ctx, release: release}
}

// Deadline implements context.Context.
func (c *Call) Deadline() (time.Time, bool) { return time.Time{}, false }

// Done implements context.Context.
func (c *Call) Done() <-chan struct{} { return nil }

// Err implements context.Context.
func (c *Call) Err() error { return nil }

// NewCallWithin makes the call of a statement under ctx that ends with another
// context too.
func NewCallWithin(ctx, other context.Context) *Call {
	both, release := join(ctx, other)
	return NewCall(both, release)
}

type callKey struct{}

// Value implements context.Context.
func (c *Call) Value(key any) any {
	if key == (callKey{}) {
		return c
	}
	return c.real.Value(key)
}

// End says that the statement has ended and its rows are closed. It may be called
// twice, and on a nil Call.
func (c *Call) End() {
	if c == nil {
		return
	}
	c.Returned()
	if !c.ended.Swap(true) && c.release != nil {
		c.release()
	}
}

// Returned says that the driver's method has returned; rows may be open still. It
// may be called twice, and on a nil Call.
func (c *Call) Returned() {
	if c != nil && c.hold != nil && !c.returned.Swap(true) {
		c.hold.Running.Add(-1)
	}
}

// Cut makes the driver answer err to whoever reads on in the rows. To the reader of
// rows that another closes they would look complete.
func (c *Call) Cut(err error) { c.refused.Store(&err) }

// Refused returns the error of Cut, nil without one and on a nil Call.
func (c *Call) Refused() error {
	if c == nil {
		return nil
	}
	if err := c.refused.Load(); err != nil {
		return *err
	}
	return nil
}

// Ended reports whether End was called.
func (c *Call) Ended() bool { return c.ended.Load() }

// Reveal returns the context that a statement's driver must watch, and its Call:
// ctx itself and nil for a statement that is not a session's.
func Reveal(ctx context.Context) (context.Context, *Call) {
	if call, ok := ctx.(*Call); ok {
		return call.real, call
	}
	call, ok := ctx.Value(callKey{}).(*Call)
	switch {
	case !ok:
		return ctx, nil
	case ctx.Done() == nil: // as that of the Call
		return revealed{ctx, call.real}, call
	}
	both, release := join(ctx, call.real) // its own end, such as a limit, does not stand for that of the real one
	context.AfterFunc(both, release)
	return both, call
}

// revealed has the values of a context that an observer, such as otelsql, made of
// a Call's, and the end of the real one.
type revealed struct {
	context.Context
	real context.Context
}

// Deadline implements context.Context.
func (r revealed) Deadline() (time.Time, bool) { return r.real.Deadline() }

// Done implements context.Context.
func (r revealed) Done() <-chan struct{} { return r.real.Done() }

// Err implements context.Context.
func (r revealed) Err() error { return r.real.Err() }

// joined has the values of a context, and ends with another one too.
type joined struct {
	context.Context
	other atomic.Pointer[error] // what that said, if it ended first
}

// join joins ctx with other, until release.
func join(ctx, other context.Context) (both *joined, release func()) {
	own, cancel := context.WithCancelCause(ctx)
	both = &joined{Context: own}
	stop := context.AfterFunc(other, func() {
		if err := other.Err(); own.Err() == nil {
			both.other.Store(&err)
		}
		cancel(context.Cause(other))
	})
	return both, func() { stop(); cancel(nil) }
}

// Err implements context.Context.
func (j *joined) Err() error {
	err := j.Context.Err()
	if other := j.other.Load(); err != nil && other != nil {
		return *other
	}
	return err
}
