package dbfx

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// Status is the verdict of a check: pass, warn or fail, the words of
// draft-inadarei-api-health-check-06. pass and warn are healthy.
type Status string

// The statuses.
const (
	Pass Status = "pass"
	Warn Status = "warn"
	Fail Status = "fail"
)

// State says why.
type State string

// The states. A saturated pool is no outage: restarting or unrouting a service
// that is only busy makes the others busier.
const (
	StateUp        State = "up"
	StateSaturated State = "saturated" // the database answers, but sessions wait for a connection
	StateStuck     State = "stuck"     // it answers, but for several POOL_TIMEOUTs no session got a connection
	StateDown      State = "down"
	StateStarting  State = "starting"
	StateStopping  State = "stopping"
)

// Report is the result of a check.
type Report struct {
	Status   Status
	State    State
	Class    string // of the error: refused, auth, timeout, …; "" when there is none
	Time     time.Time
	Duration time.Duration
	Pool     sql.DBStats
	Err      error         // for logs; the handlers never show it
	Reason   string        // of the first check that failed; the handlers show it
	Checks   []CheckReport // what the graph adds to the ping: the optional ones last, else by name
}

// Healthy reports whether requests may be sent here.
func (r Report) Healthy() bool { return r.Status != Fail }

// Health checks a database. Its checks are bounded, share their work, and are
// not starved by a full pool. It is safe for concurrent use.
type Health struct {
	db        *sql.DB
	connector driver.Connector // nil where db is not dbfx's own
	classify  func(error) string
	state     func() State // StateUp once the start is over
	checks    []*runningCheck
	stopping  atomic.Bool
	answered  atomic.Int64    // when the database last did, in Unix nanoseconds
	pressure  func() pressure // of the sessions; never nil
	saw       func(r Report)  // told each report; never nil
	writable  func(context.Context) error
	refused   *atomic.Pointer[refusal]

	mu     sync.Mutex
	last   Report
	flight *flight
	writes *writesFlight
}

// flight is a check under way.
type flight struct {
	done   chan struct{}
	report Report
}

const (
	checkTimeout = 2 * time.Second // of one check, whatever its callers allow
	checkFresh   = time.Second     // how long a report serves the next callers
)

func newHealth(d *Database, db *sql.DB) *Health {
	h := &Health{db: db, classify: func(err error) string { return d.engine.Classify(err).Class }}
	h.pressure, h.saw, h.writable, h.refused = d.pressure, d.monitor.saw, d.takesWrites, &d.monitor.refused
	h.checks = ordered(d.checks)
	own := db == d.main
	if own {
		h.connector = d.engine.Main().Connector
	}
	h.state = func() State {
		switch {
		case h.stopping.Load() || d.active.closing.Err() != nil:
			return StateStopping
		case own && !d.started.Load():
			return StateStarting
		}
		return StateUp
	}
	return h
}

// Stopping makes Check and Ready fail from now on. Call it first when the service
// stops, so that no request is sent to it while it drains; the database itself,
// which stops last, does so only then.
func (h *Health) Stopping() { h.stopping.Store(true) }

// Check says how the database is. It takes at most two seconds, or as long as
// ctx allows; a report is shared by the calls of one second, so probes cost one
// ping a second however many there are.
func (h *Health) Check(ctx context.Context) Report {
	if state := h.state(); state != StateUp {
		return Report{Status: Fail, State: state, Time: time.Now(), Pool: h.db.Stats()}
	}
	h.mu.Lock()
	if time.Since(h.last.Time) < checkFresh {
		defer h.mu.Unlock()
		return h.last
	}
	f := h.flight
	if f == nil {
		f = &flight{done: make(chan struct{})}
		h.flight = f
		// Not under the caller's context: one client that hangs up must not fail
		// the check of the others.
		go h.run(context.WithoutCancel(ctx), f)
	}
	h.mu.Unlock()
	select {
	case <-f.done:
		return f.report
	case <-ctx.Done():
		err := context.Cause(ctx)
		return Report{Status: Fail, State: StateDown, Class: "timeout", Time: time.Now(), Pool: h.db.Stats(), Err: err}
	}
}

func (h *Health) run(ctx context.Context, f *flight) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	f.report = h.probe(ctx)
	h.mu.Lock()
	h.last, h.flight = f.report, nil
	h.mu.Unlock()
	close(f.done)
	h.saw(f.report) // who waits for the report does not wait for observers
}

// probe pings through the pool, and past it where it is full: there a ping would
// wait for a connection, and a busy service would look like a dead database.
func (h *Health) probe(ctx context.Context) Report {
	report := Report{Status: Pass, State: StateUp, Time: time.Now()}
	pressure, err := h.pressure(), errFull
	if !h.full() {
		short, cancel := context.WithTimeout(ctx, checkTimeout/2)
		err = h.db.PingContext(short)
		cancel()
	}
	// A server that has no place for one more connection lives.
	if err != nil && (h.full() || h.classify(err) == "too many connections") {
		pressure, err = max(pressure, waited), h.direct(ctx)
	}
	if err != nil {
		report.Class = h.classify(err)
		if err = h.again(ctx, err); err == nil {
			report.Status = Warn
		}
	}
	switch {
	case err != nil:
		report.Status, report.State, report.Class, report.Err = Fail, StateDown, h.classify(err), err
	case pressure == starved:
		report.Status, report.State = Fail, StateStuck
	case pressure == waited:
		report.Status, report.State = Warn, StateSaturated
	}
	if err == nil {
		h.answered.Store(report.Time.UnixNano())
	}
	report.Duration, report.Pool = time.Since(report.Time), h.db.Stats()
	if report.Status != Fail {
		h.runChecks(ctx, &report)
		h.askWrites(ctx, &report)
	}
	return report
}

// againAfter is the pause before a database that was up is asked a second time.
const againAfter = 100 * time.Millisecond

// again asks a second time, on a connection of its own, after err: one lost
// packet, or a connection that a firewall forgot, must not unroute every replica
// of a service at once. A database that was down stays so until a ping succeeds.
func (h *Health) again(ctx context.Context, err error) error {
	if h.connector == nil || h.Last().State == StateDown {
		return err
	}
	timer := time.NewTimer(againAfter)
	defer timer.Stop()
	select {
	case <-timer.C:
		return h.direct(ctx)
	case <-ctx.Done():
		return err
	}
}

// Last returns the report of the last check, whenever that was, without asking:
// a zero one before the first.
func (h *Health) Last() Report {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.last
}

// Answered returns when the database last answered the start or a check, without
// asking; zero before. A quiet service asks only when a probe, the page or a session
// that failed makes it, so that Last may be old.
func (h *Health) Answered() time.Time { return timeOf(h.answered.Load()) }

// State says how the database is without asking it: StateStarting and
// StateStopping as they are, else what the last check found.
func (h *Health) State() State {
	if state := h.state(); state != StateUp {
		return state
	}
	if last := h.Last().State; last != "" {
		return last
	}
	return StateUp
}

var errFull = errors.New("every connection is in use")

func (h *Health) full() bool {
	s := h.db.Stats()
	return s.MaxOpenConnections > 0 && s.InUse >= s.MaxOpenConnections
}

// direct asks the database past the pool.
func (h *Health) direct(ctx context.Context) error {
	if h.connector == nil {
		return nil
	}
	if p, ok := h.connector.(interface{ Probe(context.Context) error }); ok {
		return p.Probe(ctx)
	}
	conn, err := h.connector.Connect(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if p, ok := conn.(driver.Pinger); ok {
		return p.Ping(ctx)
	}
	return nil
}
