package dbfx

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
)

// nest runs fn inside the session t: in a savepoint, or joined to s.
func (s *Session) nest(ctx context.Context, fn func(context.Context, *Session) error, o sessionOptions, readOnly bool) error {
	if err := s.checkNested(o, readOnly); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if !s.busy.CompareAndSwap(false, true) {
		return fmt.Errorf("%w: a nested session is open", ErrSessionBusy)
	}
	defer s.busy.Store(false)
	if err := s.health(); err != nil {
		return err
	}
	nested := &Session{root: s.root, parent: s, readOnly: readOnly || s.readOnly, depth: s.depth + 1}
	fnCtx, cancel := context.WithCancelCause(ctx)
	defer cancel(errSessionEnd)
	fnCtx, stop := withTimeout(fnCtx, o.timeout)
	defer stop()
	nested.ctx = context.WithValue(fnCtx, sessionKey{s.root.sessions}, nested)
	if o.join && readOnly == s.readOnly {
		return nested.runJoined(fn, cancel)
	}
	return nested.runSavepoint(fn, cancel)
}

func (s *Session) checkNested(o sessionOptions, readOnly bool) error {
	switch {
	case s.done.Load():
		return ErrSessionDone
	case o.durable:
		return ErrDurable
	case s.readOnly && !readOnly:
		return ErrReadOnly
	case o.retry != nil:
		return fmt.Errorf("%w: Retry in a nested session; only the whole transaction can be repeated", ErrOptions)
	case o.isolation != sql.LevelDefault && o.isolation != s.root.options.isolation:
		return fmt.Errorf("%w: Isolation %s in a session of %s", ErrOptions, o.isolation, s.root.options.isolation)
	}
	return nil
}

// runJoined runs fn as a part of the parent; its failure is the parent's.
func (s *Session) runJoined(fn func(context.Context, *Session) error, cancel context.CancelCauseFunc) (err error) {
	ended := false
	defer func() {
		s.done.Store(true)
		s.root.endRows()
		cancel(errSessionEnd)
		if !ended { // a panic, or Goexit
			s.parent.doom(fmt.Errorf("a joined session did not return"))
		}
	}()
	err = fn(s.ctx, s)
	err = s.result(err)
	ended = true
	if err != nil {
		s.parent.doom(err)
		return err
	}
	s.parent.adopt(s)
	return nil
}

// runSavepoint runs fn in a savepoint.
func (s *Session) runSavepoint(fn func(context.Context, *Session) error, cancel context.CancelCauseFunc) (err error) {
	tx := s.root
	sp := tx.sessions.engine.Savepoint("dbfx_"+strconv.Itoa(s.depth), s.readOnly)
	if err := tx.own(s.ctx, sp.Enter); err != nil {
		return err
	}
	guarded := s.readOnly && !s.parent.readOnly
	if guarded {
		if err := tx.setReadOnly(true); err != nil {
			s.parent.doom(err)
			return err
		}
	}
	kept := false
	defer func() {
		s.done.Store(true)
		tx.endRows()
		cancel(errSessionEnd)
		if guarded {
			if err := tx.setReadOnly(false); err != nil {
				s.parent.doom(err)
			}
		}
		if !kept {
			s.undo(sp.Rollback)
		}
	}()
	err = s.result(fn(s.ctx, s))
	if err == nil {
		tx.endRows()
		err = s.bounded(sp.Release)
		kept = err == nil
	}
	if kept {
		s.parent.adopt(s)
	}
	return err
}

// result says whether the scope succeeded, after fn returned err.
func (s *Session) result(err error) error {
	switch {
	case s.root.link.State().Left:
		return &CommitUnknownError{Err: errLeft}
	case err != nil:
		return ofOtherCommit(err)
	case s.ctx.Err() != nil:
		return context.Cause(s.ctx)
	case s.root.hold.Running.Load() > 0 || s.busy.Load():
		return fmt.Errorf("%w: a statement or a nested session still runs although fn has returned", ErrSessionBusy)
	}
	return s.health()
}

// endRows ends what the scope has left open where a connection reads one result at
// a time: the end of the scope's context would end the connection with it. Where a
// statement still runs that is as it should be.
func (tx *transaction) endRows() {
	if link, ok := tx.link.(interface{ EndRows() }); ok && tx.hold.Running.Load() == 0 {
		_ = tx.alone(func() error { link.EndRows(); return nil })
	}
}

// undo goes back to the savepoint. Where that fails, the outer scope cannot be
// committed either.
func (s *Session) undo(rollback string) {
	if state := s.root.link.State(); state.Ended {
		return // health says so to the outer scope
	}
	if err := s.bounded(rollback); err != nil {
		s.parent.doom(err)
		return
	}
	s.root.link.Forgive()
}

// bounded runs a statement of our own that the caller's context must not stop.
func (s *Session) bounded(query string) error {
	ctx := &limited{Context: s.ctx, limit: cleanUpTime(s.ctx), ends: &s.root.sessions.deadlines}
	defer ctx.end(context.Canceled)
	return s.root.own(ctx, query)
}

// setReadOnly makes the connection refuse writes, where the transaction does not.
func (tx *transaction) setReadOnly(on bool) error {
	return tx.alone(func() error { return tx.link.SetReadOnly(on) })
}
