package dbfx

import (
	"context"
	"errors"
	"runtime"
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
		if w.first != nil || !w.at.IsZero() {
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
