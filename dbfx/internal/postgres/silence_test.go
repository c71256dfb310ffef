package postgres

import (
	"context"
	"database/sql/driver"
	"errors"
	"sync/atomic"
	"testing"
	"time"
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

// TestSilence_AProofEndsAPing: it does not wait until its own patience is over.
func TestSilence_AProofEndsAPing(t *testing.T) {
	t.Parallel()
	for range 5 { // where the machine stands still for so long, the patience is over first
		c := &connector{opt: &Options{}, supply: newSupply(1, func(context.Context) (*conn, error) { return nil, errors.New("no one is there") })}
		waits := &conn{connector: c, number: c.dials.Add(1)}
		start := time.Now()
		var end error
		err := waits.inquire(t.Context(), func(ctx context.Context) error {
			c.silences.mu.Lock()
			c.replace(1) // a new connection has answered
			c.silences.mu.Unlock()
			<-ctx.Done()
			end = ctx.Err()
			return end
		})
		c.supply.close()
		if time.Since(start) >= pingTimeout {
			continue
		}
		if !errors.Is(end, context.Canceled) || !errors.Is(err, driver.ErrBadConn) {
			t.Errorf("the ping ended with %v, and the checkout with %v", end, err)
		}
		return
	}
	t.Error("each ping went on until its own patience was over")
}
