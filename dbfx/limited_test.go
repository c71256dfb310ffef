package dbfx

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// TestCleanUpTime_IsTheCallersAndASecondAtLeast: a request with a deadline does not
// wait five seconds more for a server that is frozen.
func TestCleanUpTime_IsTheCallersAndASecondAtLeast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if got := cleanUpTime(t.Context()); got != rollbackTimeout {
			t.Errorf("without a deadline: got %s", got)
		}
		for left, want := range map[time.Duration]time.Duration{
			-time.Minute:           time.Second,
			100 * time.Millisecond: time.Second,
			3 * time.Second:        3 * time.Second,
			time.Minute:            rollbackTimeout,
		} {
			ctx, cancel := context.WithTimeout(t.Context(), left)
			if got := cleanUpTime(ctx); got != want {
				t.Errorf("%s are left: got %s, want %s", left, got, want)
			}
			cancel()
		}
	})
}
