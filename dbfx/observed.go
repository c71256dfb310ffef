package dbfx

import (
	"context"
	"errors"
	"time"

	"github.com/sergas/dbkit/dbfx/internal/engine"
)

// told runs the session and its hooks, and tells those who follow it.
func (w *work) told(ctx context.Context) error {
	s := w.sessions
	w.event = SessionEvent{
		Dialect: Dialect(s.engine.Dialect()), Database: s.name, Name: w.options.name, ReadOnly: w.readOnly,
		Start: w.live.start, Outcome: OutcomeRolledBack, // what a panic and Goexit leave
	}
	ctx = s.observers.startSession(ctx, w.event)
	defer s.observers.endSession(ctx)
	err := w.observed(ctx)
	if err == nil && len(w.hooks) > 0 {
		w.runHooks(context.WithoutCancel(ctx), w.hooks)
	}
	return err
}

// observed tells the figures, the log and the observers how the session ended,
// also by a panic.
func (w *work) observed(ctx context.Context) (err error) {
	s := w.sessions
	returned := false
	defer func() {
		e := &w.event
		e.Duration, e.Err, e.Class = time.Since(e.Start), err, ErrorClass(err)
		if returned {
			e.Outcome = outcomeOf(err, w.readOnly)
		}
		s.meter.ended(e.Outcome)
		s.slow.session(w, *e)
		if s.alarming(err) {
			s.alarm()
		}
		s.noteRefusal(w, err)
		s.observers.session(ctx, *e)
	}()
	err = w.repeat(ctx)
	returned = true
	return err
}

// alarming reports whether err may mean that the database is down, so that it
// should be asked.
func (s *Sessions) alarming(err error) bool {
	if err == nil || errors.Is(err, ErrClosed) {
		return false
	}
	return errors.Is(err, ErrCheckoutTimeout) || errors.Is(err, ErrCommitUnknown) || s.engine.Classify(err).Kind == engine.Lost
}

// acquire is beginOn, counted: one wait an attempt, with that for a replica which the
// primary then stood in for. whole is when the attempt began to wait.
func (w *work) acquire(ctx context.Context, p pool, whole time.Time) (*transaction, error) {
	start := time.Now()
	w.live.waiting(start)
	tx, err := w.beginOn(ctx, p, whole)
	now := time.Now()
	wait := now.Sub(start)
	w.event.Wait += wait
	if err == nil || !p.replica {
		w.sessions.meter.checkout(w.readOnly, whole, now, err)
	}
	if err != nil {
		w.live.idle(wait)
		return nil, err
	}
	w.event.Role = p.role
	w.live.holding(now, wait, &tx.hold, p.role)
	return tx, nil
}

// released takes over what the attempt did with its connection, which it has
// given back.
func (w *work) released(tx *transaction) {
	held := time.Duration(moment(time.Now()) - w.live.holds.Load())
	w.sessions.meter.uses.add(held)
	statements, rows := tx.hold.Counts()
	w.event.Held += held
	w.event.Statements += statements
	w.event.Rows += rows
	w.live.idle(0)
}

// retries says that another attempt follows after pause.
func (w *work) retries(ctx context.Context, number int, err error, pause time.Duration) {
	w.sessions.meter.retries.Add(1)
	w.sessions.observers.step(ctx, SessionStep{Kind: StepRetry, Time: time.Now(), Duration: pause, Attempt: number, Class: ErrorClass(err)})
}

// runHooks runs the hooks in their order. The rest runs also when one panics,
// whose panic then goes on unchanged.
func (w *work) runHooks(ctx context.Context, hooks []func(context.Context)) {
	if len(hooks) == 0 {
		return
	}
	defer w.runHooks(ctx, hooks[1:])
	start := time.Now()
	defer func() {
		w.sessions.observers.step(ctx, SessionStep{Kind: StepHook, Time: start, Duration: time.Since(start), Attempt: w.event.Attempts})
	}()
	hooks[0](ctx)
}
