package dbfx

import (
	"fmt"
	"strings"
	"time"

	"github.com/sergas/dbkit/dbfx/internal/engine"
	"github.com/sergas/dbkit/dbfx/internal/sqltext"
)

// slow tells the sessions and statements that take longer than
// SQL_SLOW_THRESHOLD, and what else the end of a session may tell.
type slow struct {
	threshold time.Duration // 0 is off
	events    *events
}

// statement tells a slow statement. It is called for each, and so looks at the
// duration first.
func (l *slow) statement(s engine.Statement) {
	if l.threshold <= 0 || s.Duration < l.threshold || strings.HasPrefix(s.SQL, "BEGIN") { // BEGIN rides, or is the session's wait
		return
	}
	shape := sqltext.Shape(s.SQL)
	e := Event{Kind: EventSlowStatement, Text: "a statement was slow", Statement: shape, Duration: s.Duration, Rows: max(s.Rows, 0)}
	if s.Hold != nil {
		e.Session = s.Hold.Session
	}
	if s.Err != nil {
		e.Class = ErrorClass(s.Err)
	}
	l.events.limited(shape, e)
}

// session tells a session that was slow, whose outcome is unknown, or that gave up
// to retry.
func (l *slow) session(w *work, e SessionEvent) {
	told := Event{
		Session: e.Name, Duration: e.Duration, Wait: e.Wait, Attempts: e.Attempts, Rows: e.Rows, Class: e.Class,
	}
	switch {
	case e.Outcome == OutcomeUnknown:
		told.Kind, told.Text = EventUnknownCommit, "it is not known whether a session was committed"
	case e.Err != nil && w.options.retry != nil && e.Attempts > 1 && e.Attempts >= w.attemptsAllowed():
		told.Kind, told.Text = EventRetriesSpent, fmt.Sprintf("a session failed %d times and gave up", e.Attempts)
	case l.threshold > 0 && e.Duration >= l.threshold:
		told.Kind, told.Text = EventSlowSession, "a session was slow"
	default:
		return
	}
	told.Caller = callerOf(w.origin())
	l.events.limited(e.Name, told)
}

// attemptsAllowed is what the policy of the session allows.
func (w *work) attemptsAllowed() int {
	return w.options.retry.withDefaults(w.sessions.engine.Dialect()).MaxAttempts
}
