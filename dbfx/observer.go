package dbfx

import (
	"context"
	"database/sql/driver"
	"errors"
	"slices"
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
// for concurrent use. A panic of it is logged and changes nothing. It must not use
// the database that it observes: ObserveStatement is called while the session has
// its connection, which a second statement would wait for, and what an observer
// runs is observed too, without end. Hand the event to a goroutine of your own.
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
	SQL      string // without the literals that it calls a password
	Args     []any  // only for an ArgumentObserver that wants them
	Start    time.Time
	Duration time.Duration // until the rows were closed, where there are rows
	Rows     int64         // affected or read; -1 when not known
	Err      error
	Class    string // of Err, "" without one
}

// SessionEvent is one Run or View from outside, with all its attempts.
type SessionEvent struct {
	Dialect  Dialect
	Database string
	Name     string // by the option Name
	ReadOnly bool
	Start    time.Time
	Duration time.Duration
	Wait     time.Duration // for connections, also in vain
	Held     time.Duration // for how long it had one
	Role     Role          // of the handle that it had its last connection of
	Attempts int
	// Statements are those that it ran, BEGIN and COMMIT included, and Rows what
	// they read or changed.
	Statements, Rows int64
	Outcome          Outcome
	Err              error
	Class            string // of Err, "" without one
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

// observers tells each of a list. A panic of one is logged, one in ten seconds, and
// ends nothing: the statement has run, the transaction is committed, and the connection must go back.
type observers struct {
	list []Observer
	log  *zap.Logger

	// Of list, those that want the kind.
	statements []listener
	tracers    []SessionTracer
	events     []EventObserver

	panics limiter
	echo   *echo
	slow   *slow
	live   *engine.Trace // nil before trace
}

// listener is an Observer of statements, and what it wants of them.
type listener struct {
	Observer
	args, brackets bool
}

func listenerOf(o Observer) listener {
	l := listener{Observer: o, brackets: true}
	if a, ok := o.(ArgumentObserver); ok {
		l.args = a.WantArguments()
	}
	if b, ok := o.(BracketChooser); ok {
		l.brackets = b.WantBrackets()
	}
	return l
}

// prepare sorts the list, once it is whole, and introduces the database to it.
func (o *observers) prepare(info DatabaseInfo, cfg Config, log *events) {
	o.echo = &echo{log: o.log, params: cfg.SQLEchoParams}
	o.echo.on.Store(cfg.SQLEcho)
	o.slow = &slow{threshold: cfg.SQLSlowThreshold, events: log}
	for _, one := range o.list {
		if c, ok := one.(StatementChooser); !ok || c.WantStatements() {
			o.statements = append(o.statements, listenerOf(one))
		}
		if t, ok := one.(SessionTracer); ok {
			o.tracers = append(o.tracers, t)
		}
		if e, ok := one.(EventObserver); ok {
			o.events = append(o.events, e)
		}
		if d, ok := one.(DatabaseObserver); ok {
			o.tell(func() { d.ObserveDatabase(info) })
		}
	}
}

// setEcho switches the echo, and with it the trace where no one else listens.
func (o *observers) setEcho(on bool) {
	o.echo.on.Store(on)
	if o.live != nil {
		o.tune(o.live)
	}
}

// tune makes t give what someone wants, and no more.
func (o *observers) tune(t *engine.Trace) {
	t.Off.Store(!o.wanted())
	t.Brackets.Store(o.echo.on.Load() || slices.ContainsFunc(o.statements, func(l listener) bool { return l.brackets }))
}

// wanted reports whether anyone wants statements.
func (o *observers) wanted() bool {
	return len(o.statements) > 0 || o.slow.threshold > 0 || o.echo.on.Load()
}

func (o *observers) session(ctx context.Context, e SessionEvent) {
	for _, one := range o.list {
		o.tell(func() { one.ObserveSession(ctx, e) })
	}
}

func (o *observers) tell(event func()) {
	defer o.survive()
	event()
}

// statement is tell for what there is most of.
func (o *observers) statement(ctx context.Context, one listener, e *StatementEvent) {
	defer o.survive()
	one.ObserveStatement(ctx, *e)
}

// survive is deferred around a call of an observer.
func (o *observers) survive() {
	if p := recover(); p != nil {
		if alike, told := o.panics.next(time.Now()); told {
			o.log.Error("an observer panicked", zap.Any("panic", p), zap.Int("alike", alike), zap.Stack("stack"))
		}
	}
}

func (o *observers) event(e Event) {
	for _, one := range o.events {
		o.tell(func() { one.ObserveEvent(context.Background(), e) })
	}
}

// startSession returns the context that those who follow the session make.
func (o *observers) startSession(ctx context.Context, e SessionEvent) context.Context {
	for _, one := range o.tracers {
		o.tell(func() {
			if made := one.StartSession(ctx, e); made != nil {
				ctx = made
			}
		})
	}
	return ctx
}

func (o *observers) step(ctx context.Context, s SessionStep) {
	for _, one := range o.tracers {
		o.tell(func() { one.ObserveStep(ctx, s) })
	}
}

func (o *observers) endSession(ctx context.Context) {
	for _, one := range o.tracers {
		o.tell(func() { one.EndSession(ctx) })
	}
}

// trace returns what the engines feed. It is off while no one listens.
func (o *observers) trace(dialect Dialect, database string) *engine.Trace {
	t := &engine.Trace{Args: o.echo.params}
	for _, one := range o.statements {
		t.Args = t.Args || one.args
	}
	o.tune(t)
	t.Statement = func(ctx context.Context, s engine.Statement) {
		o.slow.statement(s)
		echoes := o.echo.on.Load()
		if len(o.statements) == 0 && !echoes {
			return
		}
		e := StatementEvent{
			Dialect: dialect, Database: database, SQL: maskPasswords(dialect, s.SQL), Start: s.Start, Duration: s.Duration, Rows: s.Rows,
			Err: s.Err, Class: ErrorClass(s.Err),
		}
		if s.Hold != nil {
			e.Session = s.Hold.Session
		}
		for _, one := range o.statements {
			if s.Bracket && !one.brackets {
				continue
			}
			e.Args = nil
			if one.args {
				e.Args = values(s.Args)
			}
			o.statement(ctx, one, &e)
		}
		if echoes {
			e.Args = values(s.Args)
			o.echo.statement(e)
		}
	}
	o.live = t
	return t
}

func values(args []driver.NamedValue) []any {
	list := make([]any, len(args))
	for i, arg := range args {
		list[i] = arg.Value
	}
	return list
}
