package postgres

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A request that comes while another one's dial is under way gets its connection,
// but not its failure: it has not tried yet.
func TestSupply_ADialThatBeganBeforeTheRequestDoesNotFailIt(t *testing.T) {
	t.Parallel()
	cut := errors.New("cut")
	for name, answer := range map[string]error{"the dial fails": cut, "the dial succeeds": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var dials atomic.Int32
				s := newSupply(1, func(context.Context) (*conn, error) {
					if dials.Add(1) == 1 {
						time.Sleep(time.Second)
						if answer != nil {
							return nil, answer
						}
					}
					return &conn{}, nil
				})
				early, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
				defer cancel()
				if _, err := s.take(early); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("the request that started the dial: got %v", err)
				}
				c, err := s.take(t.Context())
				if err != nil {
					t.Fatalf("the request that came later: %v", err)
				}
				if old := answer == nil; c.reused != old || old != (dials.Load() == 1) {
					t.Errorf("reused is %t after %d dials", c.reused, dials.Load())
				}
				s.close()
			})
		})
	}
}

// Each request that finds no server is told so by one dial that it has seen begin.
func TestSupply_EveryRequestIsToldOfADialOfItsOwn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		down := errors.New("down")
		var dials atomic.Int32
		s := newSupply(1, func(context.Context) (*conn, error) {
			time.Sleep(time.Second)
			dials.Add(1)
			return nil, down
		})
		ended := make(chan error)
		for i := range 3 {
			go func() {
				time.Sleep(time.Duration(i) * 100 * time.Millisecond)
				_, err := s.take(t.Context())
				ended <- err
			}()
		}
		for range 3 {
			if err := <-ended; !errors.Is(err, down) {
				t.Errorf("got %v", err)
			}
		}
		synctest.Wait()
		if n := dials.Load(); n > 6 {
			t.Errorf("%d dials for three requests", n)
		}
		s.close()
	})
}

// Many requests at once do not make their server open as many connections at once,
// and one that it answers slowly is not waited for.
func TestSupply_DialsDoNotAllStartAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var dials atomic.Int32
		s := newSupply(20, func(context.Context) (*conn, error) {
			dials.Add(1)
			time.Sleep(time.Second)
			return &conn{}, nil
		})
		s.paced = true
		ended := make(chan error)
		for range 20 {
			go func() {
				_, err := s.take(t.Context())
				ended <- err
			}()
		}
		for want := int32(dialsAtOnce); want <= 20; want++ {
			synctest.Wait()
			if n := dials.Load(); n != want {
				t.Errorf("%d dials have started, want %d", n, want)
			}
			time.Sleep(dialPace)
		}
		for range 20 {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
		s.close()
	})
}

// TestSupply_KeepsWhatComesTooLate: a connection whose request has left, and for which
// no other one waits, is kept for the next, up to the limit of the pool.
func TestSupply_KeepsWhatComesTooLate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		full := newSupply(2, nil)
		for i, want := range []bool{true, true, false} {
			if kept := full.handOver(&conn{}); kept != want {
				t.Fatalf("connection %d, for which no one waits, is kept: %t", i+1, kept)
			}
		}
		var dials atomic.Int32
		var opened [2]*conn
		s := newSupply(2, func(context.Context) (*conn, error) {
			time.Sleep(time.Second)
			c := &conn{}
			opened[dials.Add(1)-1] = c
			return c, nil
		})
		early, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		ended := make(chan error)
		for range 2 {
			go func() {
				_, err := s.take(early)
				ended <- err
			}()
		}
		for range 2 {
			if err := <-ended; !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v", err)
			}
		}
		time.Sleep(time.Second) // the dials go on, and end
		got := map[*conn]bool{}
		for range 2 {
			c, r, err := s.ask()
			if c == nil || r != nil || err != nil {
				t.Fatalf("the next request waits: %v, %v", c, err)
			}
			got[c] = true
		}
		if n := dials.Load(); n != 2 || !got[opened[0]] || !got[opened[1]] {
			t.Errorf("%d dials for four requests, of which two had left", n)
		}
		s.close()
		full.sweep.Stop()
	})
}

// Where each request has a dial of its own, none waits for another's turn.
func TestConnector_PacesTheDialsOfAPool(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		give Options
		want bool
	}{
		"pool":                 {Options{PoolSize: 20, Recycle: time.Hour}, true},
		"no age ends it":       {Options{PoolSize: 20, Recycle: -1}, true},
		"no pool":              {Options{NoPool: true, Recycle: time.Hour}, false},
		"each use has its own": {Options{PoolSize: 20}, false},
	}
	for name, tt := range tests {
		c := newConnector(&tt.give)
		if c.supply.paced != tt.want {
			t.Errorf("%s: paced is %t", name, c.supply.paced)
		}
		_ = c.Close()
	}
}
