package dbfx

import (
	"context"
	"errors"
	"time"

	"github.com/sergas/dbkit/dbfx/internal/engine"
	"go.uber.org/zap"
)

// Observer is told every statement and every session after its end. Put one into
// the graph with the value group "dbfx.observers":
//
//	fx.Provide(fx.Annotate(newObserver, fx.As(new(dbfx.Observer)), fx.ResultTags(`group:"dbfx.observers"`)))
//
// It is called on the goroutine of the statement, and so must be quick and safe
// for concurrent use. A panic of it is logged and changes nothing. Without
// observers nothing is measured.
type Observer interface {
	ObserveStatement(ctx context.Context, e StatementEvent)
	ObserveSession(ctx context.Context, e SessionEvent)
}

// ArgumentObserver is an Observer that asks for the arguments of statements,
// which may be secrets.
type ArgumentObserver interface {
	Observer
	WantArguments() bool
}

// StatementEvent is one statement, BEGIN, COMMIT and ROLLBACK included.
type StatementEvent struct {
	Dialect  Dialect
	Database string // the name given to Named, "" for the default
	Session  string // the name of the session that it ran in; "" in none, and in one without a name
	SQL      string // without the password of a CREATE or ALTER ROLE
	Args     []any  // only for an ArgumentObserver that wants them
	Start    time.Time
	Duration time.Duration // until the rows were closed, where there are rows
	Rows     int64         // affected or read; -1 when not known
	Err      error
}

// SessionEvent is one Run or View from outside, with all its attempts.
type SessionEvent struct {
	Dialect  Dialect
	Database string
	Name     string // by the option Name
	ReadOnly bool
	Start    time.Time
	Duration time.Duration
	Wait     time.Duration // for connections
	Attempts int
	Outcome  Outcome
	Err      error
}

// Outcome is how a session ended.
type Outcome string

// The outcomes. A View that went well is OutcomeRead.
const (
	OutcomeCommitted  Outcome = "committed"
	OutcomeRead       Outcome = "read"
	OutcomeRolledBack Outcome = "rolled_back"
	OutcomeUnknown    Outcome = "unknown"
)

func outcomeOf(err error, readOnly bool) Outcome {
	switch {
	case errors.Is(err, ErrCommitUnknown):
		return OutcomeUnknown
	case err != nil:
		return OutcomeRolledBack
	case readOnly:
		return OutcomeRead
	}
	return OutcomeCommitted
}

// observers tells each of a list. A panic of one is logged, and ends nothing: the
// statement has run, the transaction is committed, and the connection must go back.
type observers struct {
	list []Observer
	log  *zap.Logger
}

func (o *observers) on() bool { return len(o.list) > 0 }

func (o *observers) session(ctx context.Context, e SessionEvent) {
	for _, one := range o.list {
		o.tell(func() { one.ObserveSession(ctx, e) })
	}
}

func (o *observers) tell(event func()) {
	defer func() {
		if p := recover(); p != nil {
			o.log.Error("an observer panicked", zap.Any("panic", p), zap.Stack("stack"))
		}
	}()
	event()
}

// trace returns what the engines feed, nil where no one listens.
func (o *observers) trace(dialect Dialect, database string) *engine.Trace {
	if !o.on() {
		return nil
	}
	wants := make([]bool, len(o.list))
	t := &engine.Trace{}
	for i, one := range o.list {
		if a, ok := one.(ArgumentObserver); ok && a.WantArguments() {
			wants[i], t.Args = true, true
		}
	}
	t.Statement = func(ctx context.Context, s engine.Statement) {
		e := StatementEvent{
			Dialect: dialect, Database: database, SQL: maskPasswords(s.SQL), Start: s.Start, Duration: s.Duration, Rows: s.Rows, Err: s.Err,
		}
		if s.Hold != nil {
			e.Session = s.Hold.Session
		}
		for i, one := range o.list {
			e.Args = nil
			if wants[i] {
				for _, arg := range s.Args {
					e.Args = append(e.Args, arg.Value)
				}
			}
			o.tell(func() { one.ObserveStatement(ctx, e) })
		}
	}
	return t
}
