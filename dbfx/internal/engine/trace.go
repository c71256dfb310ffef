package engine

import (
	"context"
	"database/sql/driver"
	"time"
)

// Statement is one statement that has ended.
type Statement struct {
	SQL      string
	Args     []driver.NamedValue // nil unless the trace wants them
	Start    time.Time
	Duration time.Duration
	Rows     int64 // affected or read; -1 when not known
	Err      error
}

// Trace is told each statement. A nil *Trace, or one without Statement, costs
// nothing.
type Trace struct {
	Args      bool // whether Statement.Args are wanted
	Statement func(ctx context.Context, s Statement)
}

// On reports whether anyone listens.
func (t *Trace) On() bool { return t != nil && t.Statement != nil }

// Begin returns the time when someone wants to know it.
func (t *Trace) Begin() time.Time {
	if !t.On() {
		return time.Time{}
	}
	return time.Now()
}

// Exec tells a statement that returned no rows.
func (t *Trace) Exec(ctx context.Context, sql string, args []driver.NamedValue, start time.Time, r driver.Result, err error) {
	if !t.On() {
		return
	}
	n := int64(-1)
	if err == nil {
		if affected, rowsErr := r.RowsAffected(); rowsErr == nil {
			n = affected
		}
	}
	t.End(ctx, sql, args, start, n, err)
}

// End tells a statement; rows is -1 where it is not known.
func (t *Trace) End(ctx context.Context, sql string, args []driver.NamedValue, start time.Time, rows int64, err error) {
	if !t.On() {
		return
	}
	if !t.Args {
		args = nil
	}
	t.Statement(ctx, Statement{SQL: sql, Args: args, Start: start, Duration: time.Since(start), Rows: rows, Err: err})
}
