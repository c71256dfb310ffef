package dbfx

import (
	"context"
	"errors"
	"net/http"
	"time"
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
		if r.Waiting && r.Wait >= d.monitor.patience() {
			return waited
		}
	}
	return free
}

// errNotWritable: the database answers, and takes no writes.
var errNotWritable = errors.New("the database is read-only: a standby, or default_transaction_read_only")

// writesTimeout bounds a question whether the database takes writes.
const writesTimeout = time.Second

// takesWrites begins a session that may write, which SQLite refuses for a file
// that it cannot, and asks PostgreSQL.
func (d *Database) takesWrites(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, writesTimeout)
	defer cancel()
	return d.sessions.Run(ctx, func(ctx context.Context, tx *Session) error {
		if d.engine.Dialect() == string(SQLite) {
			return nil
		}
		var readOnly bool
		err := tx.QueryRowContext(ctx, "select current_setting('transaction_read_only')::bool").Scan(&readOnly)
		if err == nil && readOnly {
			err = errNotWritable
		}
		return err
	}, Name("dbfx.health.writes"))
}

// CheckWrites is Check, and then whether the database takes writes: a primary that
// was demoted, or a file that has become read-only, fails it. Where no connection
// came free in time that is not known, and the report is the Warn of a saturated
// pool.
func (h *Health) CheckWrites(ctx context.Context) Report {
	report := h.Check(ctx)
	if report.Status == Fail || h.writable == nil {
		return report
	}
	start := time.Now()
	err := h.writable(ctx)
	report.Duration += time.Since(start)
	switch {
	case err == nil:
	case errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrCheckoutTimeout):
		report.Status, report.State = Warn, StateSaturated
	case errors.Is(err, errNotWritable):
		report.Status, report.Class, report.Err, report.Reason = Fail, "read_only", err, "the database takes no writes"
	default:
		report.Status, report.Class, report.Err, report.Reason = Fail, h.classify(err), err, "the database takes no writes"
	}
	return report
}

// Writes answers 200 when the database takes writes, else 503: for a service that
// is of no use without. It is a question of its own, as most readers are better
// served by a demoted server than by none.
func (h *Health) Writes() http.Handler {
	return probeHandler(func(r *http.Request) answer {
		return answerOf(h.CheckWrites(r.Context()), r.URL.Query().Has("verbose"))
	})
}
