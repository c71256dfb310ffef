package dbfx

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
)

// nest runs fn inside the session t: in a savepoint, or joined to t.
func (t *Session) nest(ctx context.Context, fn func(context.Context, *Session) error, o sessionOptions, readOnly bool) error {
	if err := t.checkNested(o, readOnly); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if !t.busy.CompareAndSwap(false, true) {
		return fmt.Errorf("%w: a nested session is open", ErrSessionBusy)
	}
	defer t.busy.Store(false)
	if err := t.health(); err != nil {
		return err
	}
	nested := &Session{root: t.root, parent: t, readOnly: readOnly || t.readOnly, depth: t.depth + 1}
	fnCtx, cancel := context.WithCancelCause(ctx)
	defer cancel(errSessionEnd)
	if o.timeout > 0 {
		var stop context.CancelFunc
		fnCtx, stop = context.WithTimeout(fnCtx, o.timeout)
		defer stop()
	}
	nested.ctx = context.WithValue(fnCtx, sessionKey{t.root.sessions}, nested)
	if o.join && readOnly == t.readOnly {
		return nested.runJoined(fn, cancel)
	}
	return nested.runSavepoint(fn, cancel)
}

func (t *Session) checkNested(o sessionOptions, readOnly bool) error {
	switch {
	case t.done.Load():
		return ErrSessionDone
	case o.durable:
		return ErrDurable
	case t.readOnly && !readOnly:
		return ErrReadOnly
	case o.retry != nil:
		return fmt.Errorf("%w: Retry in a nested session; only the whole transaction can be repeated", ErrOptions)
	case o.isolation != sql.LevelDefault && o.isolation != t.root.options.isolation:
		return fmt.Errorf("%w: Isolation %s in a session of %s", ErrOptions, o.isolation, t.root.options.isolation)
	}
	return nil
}

// runJoined runs fn as a part of the parent; its failure is the parent's.
func (t *Session) runJoined(fn func(context.Context, *Session) error, cancel context.CancelCauseFunc) (err error) {
	ended := false
	defer func() {
		t.done.Store(true)
		cancel(errSessionEnd)
		if !ended { // a panic, or Goexit
			t.parent.doom(fmt.Errorf("a joined session did not return"))
		}
	}()
	err = fn(t.ctx, t)
	err = t.result(err)
	ended = true
	if err != nil {
		t.parent.doom(err)
		return err
	}
	t.parent.adopt(t)
	return nil
}

// runSavepoint runs fn in a savepoint.
func (t *Session) runSavepoint(fn func(context.Context, *Session) error, cancel context.CancelCauseFunc) (err error) {
	r := t.root
	sp := r.sessions.engine.Savepoint("dbfx_"+strconv.Itoa(t.depth), t.readOnly)
	if _, err := r.tx.ExecContext(t.ctx, sp.Enter); err != nil {
		return err
	}
	guarded := t.readOnly && !t.parent.readOnly
	if guarded {
		if err := r.link.SetReadOnly(true); err != nil {
			t.parent.doom(err)
			return err
		}
	}
	kept := false
	defer func() {
		t.done.Store(true)
		cancel(errSessionEnd)
		if guarded {
			if err := r.link.SetReadOnly(false); err != nil {
				t.parent.doom(err)
			}
		}
		if !kept {
			t.undo(sp.Rollback)
		}
	}()
	err = t.result(fn(t.ctx, t))
	if err == nil {
		err = t.bounded(sp.Release)
		kept = err == nil
	}
	if kept {
		t.parent.adopt(t)
	}
	return err
}

// result says whether the scope succeeded, after fn returned err.
func (t *Session) result(err error) error {
	switch {
	case err != nil:
		return err
	case t.ctx.Err() != nil:
		return context.Cause(t.ctx)
	case t.root.running.Load() > 0 || t.busy.Load():
		return fmt.Errorf("%w: a statement or a nested session still runs although fn has returned", ErrSessionBusy)
	}
	return t.health()
}

// undo goes back to the savepoint. Where that fails, the outer scope cannot be
// committed either.
func (t *Session) undo(rollback string) {
	if state := t.root.link.State(); state.Ended {
		return // health says so to the outer scope
	}
	if err := t.bounded(rollback); err != nil {
		t.parent.doom(err)
		return
	}
	t.root.link.Forgive()
}

// bounded runs a statement of our own that the caller's context must not stop.
func (t *Session) bounded(query string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.ctx), rollbackTimeout)
	defer cancel()
	_, err := t.root.tx.ExecContext(ctx, query)
	return err
}
