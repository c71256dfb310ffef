package dbfx

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/sergas/dbkit/dbfx/internal/engine"
)

// transaction is one attempt of an outermost session: a pinned connection and
// the transaction on it.
type transaction struct {
	sessions *Sessions
	options  sessionOptions
	attempt  int
	wait     time.Duration

	top   Session // the outermost scope
	pool  pool
	gated bool // it has the pool's gate
	conn  *sql.Conn
	link  engine.Link
	tx    *sql.Tx

	own    context.Context // that of the transaction
	cancel context.CancelCauseFunc
	timer  *time.Timer // cancels own: a wait, a COMMIT or a ROLLBACK that takes too long

	running atomic.Int32 // statements
	killed  atomic.Bool  // the drain ended it
}

func (r *transaction) leave() { r.running.Add(-1) }

var (
	errCommitTimeout = errors.New("COMMIT_TIMEOUT has passed")
	errSessionEnd    = errors.New("dbfx: the session's function has returned")
)

// outcome is what became of an attempt.
type outcome struct {
	err       error
	first     error // the first failed statement: fn may have hidden it
	committed bool
	wait      time.Duration
}

// attempt runs fn once. It does its clean-up in a defer without recover, so a
// panic keeps its stack and Goexit, which t.FailNow uses, cannot commit.
func (s *Sessions) attempt(ctx context.Context, fn func(context.Context, *Session) error, o sessionOptions,
	readOnly bool, number int, unit *unit,
) (out outcome) {
	r, err := s.begin(ctx, o, readOnly, unit)
	if err != nil {
		out.err = err
		return out
	}
	r.attempt, out.wait = number, r.wait
	t := &r.top
	t.root, t.readOnly = r, readOnly
	fnCtx, cancel := context.WithCancelCause(ctx)
	if o.timeout > 0 {
		var stop context.CancelFunc
		fnCtx, stop = context.WithTimeout(fnCtx, o.timeout)
		defer stop()
	}
	t.ctx = context.WithValue(fnCtx, sessionKey{s}, t)
	unit.enter(r, cancel)
	defer func() {
		out.first = r.link.State().First
		t.done.Store(true)
		cancel(errSessionEnd)
		if !out.committed {
			r.rollback()
		}
		unit.leave()
		r.release()
	}()
	out.err = fn(t.ctx, t)
	out.err = r.finish(t, out.err)
	out.committed = out.err == nil && !readOnly
	if out.committed {
		unit.hooks = t.hooks
	}
	return out
}

// finish decides what becomes of the transaction after fn returned err, and
// commits it. It returns nil for a read-only one that may be rolled back.
func (r *transaction) finish(t *Session, err error) error {
	state := r.link.State()
	if state.Left {
		if err == nil {
			err = engine.ErrControl
		}
		return &CommitUnknownError{Err: fmt.Errorf("a statement ended the transaction: %w", err)}
	}
	if err != nil {
		return err
	}
	if t.ctx.Err() != nil {
		return context.Cause(t.ctx)
	}
	if r.running.Load() > 0 || t.busy.Load() {
		return fmt.Errorf("%w: a statement or a nested session still runs although fn has returned", ErrSessionBusy)
	}
	if err := t.health(); err != nil {
		return err
	}
	if t.readOnly {
		return nil
	}
	return r.commit()
}

// commit sends COMMIT, which from here on no context of the caller's can stop.
func (r *transaction) commit() error {
	if r.killed.Load() {
		return ErrClosed
	}
	r.link.Permit()
	r.timer.Reset(r.sessions.commitTimeout)
	err := r.tx.Commit()
	r.timer.Stop()
	if err == nil {
		return nil
	}
	if errors.Is(err, sql.ErrTxDone) { // nothing was sent
		if r.killed.Load() {
			return ErrClosed
		}
		return &RolledBackError{Err: fmt.Errorf("SQLTx was ended by its user: %w", err)}
	}
	switch r.sessions.engine.CommitOutcome(err) {
	case engine.NotCommitted:
		if r.killed.Load() {
			return ErrClosed
		}
		if unlessContext(err) == nil { // the context is the one that COMMIT_TIMEOUT ends
			return fmt.Errorf("dbfx: COMMIT was rolled back: %w", errCommitTimeout)
		}
		return err
	case engine.RolledBack:
		first := r.link.State().First
		if first == nil {
			first = err
		}
		return &RolledBackError{Err: first}
	}
	return &CommitUnknownError{Err: err}
}

// rollback ends what was not committed. A connection that cannot do so in time
// is discarded; the caller has the error that matters.
func (r *transaction) rollback() {
	r.timer.Reset(rollbackTimeout)
	err := r.tx.Rollback()
	r.timer.Stop()
	if err == nil || errors.Is(err, sql.ErrTxDone) || r.link.State().Ended {
		return
	}
	r.sessions.log.Warn("rollback failed; the connection is discarded", zap.Error(err))
	r.discard()
}

// discard makes database/sql close the connection.
func (r *transaction) discard() {
	_ = r.conn.Raw(func(any) error { return driver.ErrBadConn })
}

// giveBack returns the connection, after the transaction has ended: before that
// sql.Conn.Close would wait for it.
func (r *transaction) giveBack() {
	if r.conn != nil {
		r.link.Unbind()
		_ = r.conn.Close()
		r.conn, r.link = nil, noLink{}
	}
}

// release gives back all that the transaction holds.
func (r *transaction) release() {
	r.giveBack()
	r.cancel(nil)
	if r.gated {
		r.pool.gate.Leave()
	}
}
