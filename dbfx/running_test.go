package dbfx

import (
	"testing"
	"time"
)

// TestRunning_AWaitThatIsOverIsNotThatOfNow: a View has waited for a replica that hung,
// and now waits for the primary. The pool is not full.
func TestRunning_AWaitThatIsOverIsNotThatOfNow(t *testing.T) {
	t.Parallel()
	w := &work{}
	now := time.Now()
	w.live.idle(2 * time.Second)
	w.live.waiting(now)
	if r := w.live.look(w, now.Add(time.Millisecond)); r.now > time.Second || r.Wait < 2*time.Second {
		t.Errorf("got %s now, %s in all", r.now, r.Wait)
	}
}
