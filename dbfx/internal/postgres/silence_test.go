package postgres

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
)

// TestSilence_AnAnswerEndsTheDoubt: the server is asked for a BEGIN without an answer,
// and not for a statement that takes its time.
func TestSilence_AnAnswerEndsTheDoubt(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		at   phase
		asks bool
	}{"unanswered": {sent, true}, "answered": {answered, false}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int32
			c := &connector{opt: &Options{}}
			c.supply = newSupply(1, func(context.Context) (*conn, error) {
				asked.Add(1)
				return nil, errors.New("no one is there")
			})
			w := newWire(nil, nil)
			w.phase = tt.at
			waits := &conn{connector: c, wire: w}
			s := waits.listen(t.Context(), w.unanswered, func() { t.Error("it was given up") })
			s.timer.Stop()
			s.doubt()
			c.supply.close()
			if asks := asked.Load() > 0; asks != tt.asks {
				t.Errorf("the server was asked: %t", asks)
			}
		})
	}
}
