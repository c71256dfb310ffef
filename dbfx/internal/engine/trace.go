package engine

import (
	"context"
	"database/sql/driver"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Statement is one statement that has ended.
type Statement struct {
	SQL      string
	Args     []driver.NamedValue // nil unless the trace wants them or the statement failed
	Start    time.Time
	Duration time.Duration
	Rows     int64 // affected or read; -1 when not known
	Err      error
	Hold     *Hold // of the session that it ran in; nil in none
	Bracket  bool  // it is BEGIN, or the ROLLBACK of a session that only reads
}

// Trace is told each statement. A nil *Trace, or one without Statement, costs
// nothing.
type Trace struct {
	Args      bool // whether Statement.Args are wanted of those that went well
	Statement func(ctx context.Context, s Statement)
	Off       atomic.Bool // no one listens at the moment
	// Brackets says that someone wants the brackets too. Without, they are not even
	// timed.
	Brackets atomic.Bool
}

// On reports whether anyone listens.
func (t *Trace) On() bool { return t != nil && t.Statement != nil && !t.Off.Load() }

// Tracer is the Trace of one connection, and the session that holds it.
type Tracer struct {
	Trace *Trace
	Hold  *Hold // nil while no session has the connection
}

// Reveal is the function Reveal, and makes a Call of a session's statement that did
// not come through the Session, such as one of SQLTx: the end of the session must
// know of it. The driver calls Returned and End of it.
func (t *Tracer) Reveal(ctx context.Context) (context.Context, *Call) {
	if t.Hold == nil && ctx.Done() != nil {
		return ctx, nil // of no session: without the search for a Call
	}
	ctx, call := Reveal(ctx)
	if call != nil || t.Hold == nil || t.Hold.Scope == nil {
		return ctx, call
	}
	h := t.Hold
	if h.Scope.Inside(ctx) {
		call = NewCall(ctx, nil)
	} else {
		call = NewCallWithin(ctx, h.Scope.Context())
	}
	call.hold = h
	h.Running.Add(1)
	return call.real, call
}

// Begin says that a statement begins, and returns the time.
func (t *Tracer) Begin(sql string) time.Time {
	if t.Hold == nil && !t.Trace.On() {
		return time.Time{}
	}
	now := time.Now()
	if t.Hold != nil {
		t.Hold.begin(sql, now)
	}
	return now
}

// Restart says that the statement which Begin told runs only now, after a wait, and
// returns the time. It counts as one.
func (t *Tracer) Restart(sql string) time.Time {
	if t.Hold == nil && !t.Trace.On() {
		return time.Time{}
	}
	now := time.Now()
	if t.Hold != nil {
		t.Hold.restart(sql, now)
	}
	return now
}

// Exec tells a statement that returned no rows.
func (t *Tracer) Exec(ctx context.Context, sql string, args []driver.NamedValue, start time.Time, r driver.Result, err error) {
	n := int64(-1)
	if err == nil && (t.Hold != nil || t.Trace.On()) {
		if affected, rowsErr := r.RowsAffected(); rowsErr == nil {
			n = affected
		}
	}
	t.End(ctx, sql, args, start, n, err)
}

// End tells a statement; rows is -1 where it is not known.
func (t *Tracer) End(ctx context.Context, sql string, args []driver.NamedValue, start time.Time, rows int64, err error) {
	if t.Hold != nil {
		t.Hold.end(start, rows)
	}
	if !t.Trace.On() || start.IsZero() { // zero: no one listened when it began
		return
	}
	bracket := t.bracket(sql)
	if bracket && !t.Trace.Brackets.Load() {
		return
	}
	if !t.Trace.Args && err == nil {
		args = nil
	}
	t.Trace.Statement(ctx, Statement{SQL: sql, Args: args, Start: start, Duration: time.Since(start), Rows: rows, Err: err, Hold: t.Hold, Bracket: bracket})
}

// bracket reports whether sql is a statement of dbfx's own for which no one waits:
// BEGIN, which rides or is the session's wait, and ROLLBACK where nothing was written.
func (t *Tracer) bracket(sql string) bool {
	return strings.HasPrefix(sql, "BEGIN") || sql == "ROLLBACK" && t.Hold != nil && t.Hold.ReadOnly
}

// Hold is what a session and the connection that it holds know of each other.
type Hold struct {
	// Session is the session's name, "" where it has none.
	Session string
	// ReadOnly says that the session only reads.
	ReadOnly bool
	// Backend is the process of PostgreSQL that serves the connection, 0 elsewhere.
	Backend atomic.Uint32
	// Running counts the statements that have not returned.
	Running atomic.Int32
	// Scope knows the context of the session's function. It is nil before that runs.
	Scope Scope
	// Wait bounds the wait for another connection in place of one that was dead; nil
	// is no bound.
	Wait Wait

	mu         sync.Mutex
	sql        string // under way, "" when none is
	since      time.Time
	statements int64
	rows       int64
}

func (h *Hold) begin(sql string, now time.Time) {
	h.mu.Lock()
	h.sql, h.since = sql, now
	h.statements++
	h.mu.Unlock()
}

func (h *Hold) restart(sql string, now time.Time) {
	h.mu.Lock()
	h.sql, h.since = sql, now
	h.mu.Unlock()
}

// end forgets the statement that began at start. Of two whose rows are read by
// turns the younger one is known.
func (h *Hold) end(start time.Time, rows int64) {
	h.mu.Lock()
	if h.since.Equal(start) {
		h.sql = ""
	}
	if rows > 0 {
		h.rows += rows
	}
	h.mu.Unlock()
}

// Statement returns the text of the statement under way and when it began, ""
// when there is none.
func (h *Hold) Statement() (sql string, since time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.sql, h.since
}

// Counts returns how many statements have begun, BEGIN and COMMIT among them, and
// how many rows they have read or changed.
func (h *Hold) Counts() (statements, rows int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.statements, h.rows
}

// Scope is what a session knows of contexts.
type Scope interface {
	// Context is that of the session's function.
	Context() context.Context
	// Inside reports whether ctx is made of it and ends with it.
	Inside(ctx context.Context) bool
}

// Wait is what a session knows of the wait for a connection.
type Wait interface {
	// Patience is how long it may take; 0 is no limit.
	Patience() time.Duration
	// TimedOut makes the error of one that took longer. err says what it waited for.
	TimedOut(waited time.Duration, err error) error
	// Another takes one more connection of the session's pool, as a checkout does. It
	// is nil where that is not dbfx's. giveBack follows where err is nil.
	Another(ctx context.Context) (link Link, giveBack func(), err error)
}
