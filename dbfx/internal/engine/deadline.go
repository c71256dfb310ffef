package engine

import (
	"context"
	"time"
)

type deadlineKey struct{}

// WithDeadline notes in ctx when the wait for a connection has to be over, and
// does not end ctx then: the context of a transaction outlives that wait.
func WithDeadline(ctx context.Context, at time.Time) context.Context {
	return context.WithValue(ctx, deadlineKey{}, at)
}

// Deadline is when a wait under ctx has to be over: the noted time or the
// deadline of ctx, whichever is first.
func Deadline(ctx context.Context) (at time.Time, ok bool) {
	at, ok = ctx.Deadline()
	if noted, found := ctx.Value(deadlineKey{}).(time.Time); found && (!ok || noted.Before(at)) {
		return noted, true
	}
	return at, ok
}
