package engine

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestCall_EndsWithTheFirstOfItsContexts: and says which one it was.
func TestCall_EndsWithTheFirstOfItsContexts(t *testing.T) {
	t.Parallel()
	type key struct{}
	why := errors.New("why")
	for name, tt := range map[string]struct {
		own, other time.Duration
		want       error
		cause      error
	}{
		"its own":   {time.Second, time.Minute, context.DeadlineExceeded, context.DeadlineExceeded},
		"the other": {time.Minute, time.Second, context.DeadlineExceeded, why},
		"neither":   {time.Minute, time.Minute, context.Canceled, context.Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				own, cancel := context.WithTimeout(context.WithValue(t.Context(), key{}, 1), tt.own)
				defer cancel()
				other, cancel := context.WithTimeoutCause(t.Context(), tt.other, why)
				defer cancel()
				call := NewCallWithin(own, other)
				limited, cancel := context.WithTimeout(call, time.Hour) // an observer's
				defer cancel()
				start := time.Now()
				for _, ctx := range []context.Context{call, limited} {
					ctx, found := Reveal(ctx)
					if found != call || ctx.Value(key{}) != 1 {
						t.Fatalf("found %v, with the value %v", found, ctx.Value(key{}))
					}
					if tt.want == context.Canceled {
						call.End()
					}
					<-ctx.Done()
					if took := time.Since(start); took > time.Second || !errors.Is(ctx.Err(), tt.want) || context.Cause(ctx) != tt.cause { //nolint:errorlint // the very one
						t.Errorf("ended after %s with %v, %v", took, ctx.Err(), context.Cause(ctx))
					}
				}
			})
		})
	}
}
