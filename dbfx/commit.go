package dbfx

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"

	"go.uber.org/zap"

	"github.com/sergas/dbkit/dbfx/internal/engine"
)

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
