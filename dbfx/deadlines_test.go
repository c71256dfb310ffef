package dbfx

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// waits is a set of deadlines whose firing is written down.
type waits struct {
	deadlines
	fired chan int
}

func (w *waits) begin(n int, after time.Duration) *deadline {
	d := new(deadline)
	w.set(d, time.Now().Add(after), func() { w.fired <- n })
	return d
}

func TestDeadlines_FireInTimeWhateverWasStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &waits{fired: make(chan int, 10)}
		start := time.Now()
		first := w.begin(1, time.Second)
		w.begin(2, 3*time.Second)
		w.begin(3, 500*time.Millisecond) // sooner than what the timer is set for
		w.begin(4, time.Minute)
		if !w.stop(first) || w.stop(first) {
			t.Error("stop: want true, and false for what is stopped")
		}
		for _, want := range []struct {
			n     int
			after time.Duration
		}{{3, 500 * time.Millisecond}, {2, 3 * time.Second}, {4, time.Minute}} {
			if n := <-w.fired; n != want.n || time.Since(start) != want.after {
				t.Errorf("%d fired after %s, want %d after %s", n, time.Since(start), want.n, want.after)
			}
		}
		d := w.begin(5, time.Second)
		if n := <-w.fired; n != 5 || w.stop(d) {
			t.Errorf("%d fired, want 5, which cannot be stopped any more", n)
		}
		if len(w.waits) > 0 || !w.at.IsZero() {
			t.Error("something is left")
		}
	})
}

func TestDeadlines_ManyShortWaitsSetOneTimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &waits{fired: make(chan int, 1)}
		set := 0
		for range 1000 {
			before := w.at
			d := w.begin(1, 30*time.Second)
			if !w.at.Equal(before) {
				set++
			}
			time.Sleep(time.Millisecond)
			w.stop(d)
		}
		if set != 1 {
			t.Errorf("the timer was set %d times, want once", set)
		}
		time.Sleep(time.Minute)
		if len(w.fired) > 0 {
			t.Error("a stopped wait ended")
		}
	})
}

func TestDeadlines_AreSortedWhenTheTimerFires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(1, 2))
		var s deadlines
		var mu sync.Mutex
		var set []*deadline
		ends := map[*deadline]time.Time{} // of those that are set
		for range 5000 {
			switch n := random.IntN(10); {
			case n < 6:
				d := new(deadline)
				at := time.Now().Add(time.Duration(random.IntN(1000))*time.Millisecond + time.Microsecond) // while we sleep
				mu.Lock()
				ends[d], set = at, append(set, d)
				mu.Unlock()
				s.set(d, at, func() {
					mu.Lock()
					defer mu.Unlock()
					if !ends[d].Equal(time.Now()) {
						t.Errorf("it fired at %s, want %s", time.Now(), ends[d])
					}
					delete(ends, d)
				})
			case n < 9 && len(set) > 0:
				d := set[random.IntN(len(set))]
				mu.Lock()
				_, want := ends[d]
				delete(ends, d)
				mu.Unlock()
				if s.stop(d) != want {
					t.Errorf("stop: want %t", want)
				}
			default:
				time.Sleep(time.Duration(random.IntN(20)) * time.Millisecond)
				synctest.Wait()
			}
			s.check(t, len(ends))
		}
		time.Sleep(time.Second)
		synctest.Wait()
		s.check(t, 0)
	})
}

// check looks whether n are set, and each where it belongs.
func (s *deadlines) check(t *testing.T, n int) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waits) != n || s.sorted > n {
		t.Fatalf("%d are set, %d of them sorted, want %d", len(s.waits), s.sorted, n)
	}
	for i, d := range s.waits {
		if d.place != i+1 {
			t.Fatalf("what stands at %d says %d", i+1, d.place)
		}
		if i < s.sorted && d.at.Before(s.waits[max(i-1, 0)/2].at) {
			t.Fatalf("%d of %d ends before the one above it", i+1, s.sorted)
		}
		if s.at.IsZero() || i >= s.sorted && d.at.Before(s.at) {
			t.Fatalf("the timer is set for %s, and %s ends before", s.at, d.at)
		}
	}
}

func TestDeadlines_EachEndsOnce(t *testing.T) {
	var s deadlines
	var fired, stopped atomic.Int32
	var wg sync.WaitGroup
	const workers, rounds = 8, 500
	for worker := range workers {
		wg.Go(func() {
			var inner sync.WaitGroup
			for i := range rounds {
				d := new(deadline)
				inner.Add(1)
				s.set(d, time.Now().Add(time.Duration((worker+i)%5)*100*time.Microsecond), func() { fired.Add(1); inner.Done() })
				if i%3 > 0 {
					runtime.Gosched()
					if s.stop(d) {
						stopped.Add(1)
						inner.Done()
					}
				}
			}
			inner.Wait()
		})
	}
	wg.Wait()
	if n := fired.Load() + stopped.Load(); n != workers*rounds {
		t.Errorf("%d ended, want %d", n, workers*rounds)
	}
}

func TestLimited_IsAContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type key struct{}
		outer, cancel := context.WithTimeout(context.WithValue(t.Context(), key{}, 1), time.Second)
		defer cancel()
		var ends deadlines
		l := &limited{Context: outer, limit: 5 * time.Second, ends: &ends}
		if _, has := l.Deadline(); has || l.Value(key{}) != 1 {
			t.Error("want no deadline, and the values of the outer context")
		}
		time.Sleep(2 * time.Second) // the limit begins when someone asks
		start := time.Now()
		child, stop := context.WithCancel(l)
		defer stop()
		ran := make(chan struct{})
		context.AfterFunc(l, func() { close(ran) })
		never := context.AfterFunc(l, func() { t.Error("it ran although it was stopped") })
		if !never() || never() {
			t.Error("stop: want true, then false")
		}
		<-l.Done()
		<-ran
		<-child.Done()
		if took := time.Since(start); took != 5*time.Second || !errors.Is(child.Err(), context.DeadlineExceeded) {
			t.Errorf("it ended after %s: %v, want 5s: %v", took, child.Err(), context.DeadlineExceeded)
		}
		late := make(chan struct{})
		context.AfterFunc(l, func() { close(late) })
		<-late
	})
}

func TestLimited_WatchingItStartsNoGoroutine(t *testing.T) {
	var ends deadlines
	l := &limited{Context: t.Context(), limit: time.Hour, ends: &ends}
	defer l.end(context.Canceled)
	before := runtime.NumGoroutine()
	for range 100 {
		defer context.AfterFunc(l, func() {})()
	}
	if n := runtime.NumGoroutine() - before; n > 50 { // other tests' come and go
		t.Errorf("100 watchers started %d goroutines", n)
	}
}
