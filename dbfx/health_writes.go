package dbfx

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/sergas/dbkit/dbfx/internal/engine"
)

// pressure is how hard it is for a session to get a connection.
type pressure int

const (
	free    pressure = iota
	waited           // one has waited for long
	starved          // none got one for several POOL_TIMEOUTs
)

// pressure asks memory.
func (d *Database) pressure() pressure {
	if d.sessions == nil {
		return free
	}
	now := time.Now()
	if d.sessions.meter.stuck(now, d.cfg.PoolTimeout) {
		return starved
	}
	for _, r := range d.sessions.running() {
		if r.Waiting && !r.trying && r.now >= d.monitor.patience() {
			return waited
		}
	}
	return free
}

// errNotWritable: the database answers, and takes no writes.
var errNotWritable = errors.New("the database is read-only: a standby, or default_transaction_read_only")

// writesTimeout bounds a question whether the database takes writes.
const writesTimeout = time.Second

// takesWritesName is the session that asks.
const takesWritesName = "dbfx.health.writes"

// takesWrites asks the database whether it takes writes.
func (d *Database) takesWrites(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, writesTimeout)
	defer cancel()
	return d.sessions.Run(ctx, func(ctx context.Context, tx *Session) error {
		takes, err := d.engine.TakesWrites(ctx, tx)
		if err == nil && !takes {
			err = errNotWritable
		}
		return err
	}, Name(takesWritesName))
}

// refusal is that the database refused the writes of a session. Its class is known
// once a check has asked and was refused too.
type refusal struct {
	class string
	taken int // questions that were answered with yes
}

// convinced is how many writes must be taken before a session's refusal counts as
// its own: where the disk is nearly full, a page may find its place that a larger
// transaction did not.
const convinced = 3

// noteRefusal has the next checks ask whether the database takes writes, once it
// has refused those of a session. While none is refused, no check asks.
func (s *Sessions) noteRefusal(w *work, err error) {
	if err == nil || w.readOnly || w.options.name == takesWritesName || s.refused.Load() != nil {
		return
	}
	fault := s.engine.Classify(err)
	if fault.Kind == engine.ReadOnly || fault.Class == "disk full" || fault.Class == "i/o" {
		s.refused.CompareAndSwap(nil, &refusal{})
		s.alarm()
	}
}

// writesKey is under which the bodies have the refusal.
const writesKey = "database:writes"

// askWrites adds to the report that the database takes no writes. That is a Warn:
// reads are served, and an instance that is taken out of use serves none.
func (h *Health) askWrites(ctx context.Context, report *Report) {
	r := h.refused.Load()
	if r == nil {
		return
	}
	err := h.sharedWrites(ctx)
	if err == nil {
		next := &refusal{taken: r.taken + 1}
		if r.class != "" || next.taken >= convinced {
			next = nil
		}
		h.refused.CompareAndSwap(r, next)
		return
	}
	if !unknowable(err) {
		r = &refusal{class: h.classOfRefusal(err)}
		h.refused.Store(r)
	}
	if r.class == "" {
		return
	}
	reason := noWrites + ": " + r.class
	report.Checks = append(report.Checks, CheckReport{Name: writesKey, CheckResult: CheckResult{Status: Warn, Reason: reason}})
	if report.Status == Pass {
		report.Status = Warn
	}
	if report.Reason == "" {
		report.Reason = reason
	}
}

const noWrites = "the database takes no writes"

// unknowable reports whether the question was not answered: no connection came free.
func unknowable(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrCheckoutTimeout)
}

func (h *Health) classOfRefusal(err error) string {
	if errors.Is(err, errNotWritable) {
		return "read-only"
	}
	return h.classify(err)
}

// CheckWrites is Check, and then whether the database takes writes: a primary that
// was demoted, a file that has become read-only, and a full disk below SQLite fail
// it. SQLite is asked with a write, of one page of the file. Where no connection
// came free in time that is not known, and the report is the Warn of a saturated
// pool.
func (h *Health) CheckWrites(ctx context.Context) Report {
	report := h.Check(ctx)
	if report.Status == Fail || h.writable == nil {
		return report
	}
	start := time.Now()
	err := h.sharedWrites(ctx)
	report.Duration += time.Since(start)
	switch {
	case err == nil:
	case ctx.Err() != nil || unknowable(err):
		if now := h.Check(ctx); now.Status == Fail { // it has died since the report, which may be a second old
			return now
		}
		report.Status, report.State = Warn, StateSaturated
	default:
		report.Status, report.Class, report.Err, report.Reason = Fail, h.classOfRefusal(err), err, noWrites
	}
	return report
}

// writesFlight is a question under way whether the database takes writes.
type writesFlight struct {
	done chan struct{}
	err  error
}

// sharedWrites asks whether the database takes writes. Those who ask meanwhile share the
// answer: each question is a session that writes, and SQLite has one at a time.
func (h *Health) sharedWrites(ctx context.Context) error {
	h.mu.Lock()
	f := h.writes
	if f == nil {
		f = &writesFlight{done: make(chan struct{})}
		h.writes = f
		go func() { // one client that hangs up must not fail the others
			f.err = h.writable(context.WithoutCancel(ctx))
			h.mu.Lock()
			h.writes = nil
			h.mu.Unlock()
			close(f.done)
		}()
	}
	h.mu.Unlock()
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Writes answers 200 when the database takes writes, else 503: for a service that
// is of no use without. It is a question of its own, as most readers are better
// served by a demoted server than by none.
func (h *Health) Writes() http.Handler {
	return probeHandler(func(r *http.Request) answer {
		return answerOf(h.CheckWrites(r.Context()), r.URL.Query().Has("verbose"))
	})
}
