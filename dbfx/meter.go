package dbfx

import (
	"errors"
	"sync/atomic"
	"time"
)

// meter counts what the sessions of one database do: a dozen atomic additions a
// session, whether anyone looks or not.
type meter struct {
	outcomes          struct{ committed, read, rolledBack, unknown atomic.Int64 }
	retries, timeouts atomic.Int64
	waits, uses       distribution
	lastCheckout      atomic.Int64 // in Unix nanoseconds
	lag               atomic.Int64 // of the replica, in nanoseconds
	runs, views       failing
}

// failing knows since when no session of one kind gets a connection. Both are moments;
// since is 0 while sessions get one.
type failing struct{ since, last atomic.Int64 }

// checkout counts a wait for a connection that began at start: err is nil, or
// says why it was in vain.
func (m *meter) checkout(readOnly bool, start, now time.Time, err error) {
	m.waits.add(now.Sub(start))
	f := &m.runs
	if readOnly {
		f = &m.views
	}
	switch {
	case err == nil:
		m.lastCheckout.Store(now.UnixNano())
		if f.since.Load() != 0 {
			f.since.Store(0)
		}
	case errors.Is(err, ErrCheckoutTimeout):
		m.timeouts.Add(1)
		f.last.Store(moment(now))
		f.since.CompareAndSwap(0, moment(start))
	}
}

const (
	stuckAfter   = 3                // times POOL_TIMEOUT without a checkout
	waitFallback = 30 * time.Second // stands for a POOL_TIMEOUT of 0
)

// stuck reports whether sessions have asked for several times POOL_TIMEOUT, up to
// now, and none got a connection: that is a deadlock and no load.
func (m *meter) stuck(now time.Time, poolTimeout time.Duration) bool {
	if poolTimeout <= 0 {
		poolTimeout = waitFallback
	}
	for _, f := range []*failing{&m.runs, &m.views} {
		since := f.since.Load()
		if since != 0 && moment(now)-since >= int64(stuckAfter*poolTimeout) && moment(now)-f.last.Load() <= int64(2*poolTimeout) {
			return true
		}
	}
	return false
}

// ended counts a session.
func (m *meter) ended(o Outcome) {
	switch o {
	case OutcomeCommitted:
		m.outcomes.committed.Add(1)
	case OutcomeRead:
		m.outcomes.read.Add(1)
	case OutcomeUnknown:
		m.outcomes.unknown.Add(1)
	default:
		m.outcomes.rolledBack.Add(1)
	}
}

// Distribution counts durations by their size.
type Distribution struct {
	Count int64
	Sum   time.Duration
	// Bounds are the upper ends of the classes, Counts how many were in each; the
	// last of Counts is for those above the last bound.
	Bounds []time.Duration
	Counts []int64
}

// Quantile returns a bound that the share q of the durations does not exceed: 0.99
// of them, say. It is 0 for none, and above the last bound that bound.
func (d Distribution) Quantile(q float64) time.Duration {
	if d.Count == 0 || len(d.Bounds) == 0 {
		return 0
	}
	rank, seen := q*float64(d.Count), int64(0)
	for i, n := range d.Counts {
		if seen += n; float64(seen) >= rank && i < len(d.Bounds) {
			return d.Bounds[i]
		}
	}
	return d.Bounds[len(d.Bounds)-1]
}

// Bounds returns the classes of every Distribution: from 10 µs to 10 s, as a select
// on SQLite takes 12 µs.
func Bounds() []time.Duration {
	const us, ms, s = time.Microsecond, time.Millisecond, time.Second
	return []time.Duration{
		10 * us, 25 * us, 50 * us, 100 * us, 250 * us, 500 * us, ms, 2500 * us, 5 * ms, 10 * ms, 25 * ms, 50 * ms,
		100 * ms, 250 * ms, 500 * ms, s, 2500 * ms, 5 * s, 10 * s,
	}
}

// distribution is a Distribution that grows.
type distribution struct {
	sum    atomic.Int64
	counts [20]atomic.Int64 // one more than Bounds has
}

var bounds = Bounds()

func (d *distribution) add(v time.Duration) {
	i := 0
	for i < len(bounds) && v > bounds[i] {
		i++
	}
	d.counts[i].Add(1)
	d.sum.Add(int64(v))
}

func (d *distribution) read() Distribution {
	out := Distribution{Sum: time.Duration(d.sum.Load()), Bounds: Bounds(), Counts: make([]int64, len(d.counts))}
	for i := range d.counts {
		out.Counts[i] = d.counts[i].Load()
		out.Count += out.Counts[i]
	}
	return out
}
