package dbfx

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/sergas/dbkit/dbfx/internal/engine"
)

// errEndedByUser is what became of a session whose SQLTx was ended.
var errEndedByUser = errors.New("SQLTx was ended by its user")

// commit sends COMMIT, which from here on no context of the caller's can stop.
func (tx *transaction) commit() error {
	tx.closeAll()
	if state := tx.link.State(); state.Finished {
		return &RolledBackError{Err: errEndedByUser}
	}
	err := tx.end(tx.sessions.commitTimeout, func(ctx context.Context) error {
		if tx.killed.Load() {
			return ErrClosed
		}
		return tx.link.Commit(ctx)
	})
	if err == nil || errors.Is(err, ErrClosed) {
		return err
	}
	if errors.Is(err, sql.ErrTxDone) { // nothing was sent
		return &RolledBackError{Err: fmt.Errorf("%w: %w", errEndedByUser, err)}
	}
	return tx.verdict(err)
}

// verdict says what a failed COMMIT left.
func (tx *transaction) verdict(err error) error {
	switch tx.sessions.engine.CommitOutcome(err) {
	case engine.NotCommitted:
		if tx.killed.Load() {
			return ErrClosed
		}
		if unlessContext(err) == nil { // the context is the one that COMMIT_TIMEOUT ends
			return fmt.Errorf("dbfx: COMMIT was rolled back: %w", errCommitTimeout)
		}
		return err
	case engine.RolledBack:
		first := tx.link.State().First
		if first == nil {
			first = err
		}
		return &RolledBackError{Err: first}
	}
	return &CommitUnknownError{Err: err}
}

// rollback ends what was not committed. A connection that cannot do so in time
// is discarded; the caller has the error that matters.
func (tx *transaction) rollback() {
	if tx.link == nil { // there was no connection
		return
	}
	tx.closeAll()
	err := tx.end(cleanUpTime(tx.ctx), tx.link.Rollback)
	if err == nil || errors.Is(err, sql.ErrConnDone) || tx.link.State().Ended {
		return
	}
	if alike, told := tx.sessions.discards.next(time.Now()); told {
		tx.sessions.log.Warn("rollback failed; the connection is discarded", zap.Error(err), zap.Int("alike", alike))
	}
	tx.discard()
}

// end runs act, COMMIT or ROLLBACK, beside no statement and with limit.
func (tx *transaction) end(limit time.Duration, act func(ctx context.Context) error) error {
	ctx := &limited{Context: tx.ctx, limit: limit, ends: &tx.sessions.deadlines}
	defer ctx.end(context.Canceled)
	tx.mu.Lock()
	tx.ending = ctx
	tx.mu.Unlock()
	if tx.killed.Load() {
		ctx.end(context.Canceled)
	}
	return tx.alone(func() error { return act(ctx) })
}

// use keeps the connection from going back until used is called, and reports
// whether it is still there. Code that may run beside the end of fn needs it: a
// sql.Conn that is used while it is closed panics, and a statement between Unbind
// and the close would run outside of the transaction. It must not be nested.
func (tx *transaction) use() bool {
	tx.users.RLock()
	if tx.gone {
		tx.users.RUnlock()
		return false
	}
	return true
}

func (tx *transaction) used() { tx.users.RUnlock() }

// alone runs act while no statement does.
func (tx *transaction) alone(act func() error) error {
	if !tx.use() {
		return sql.ErrConnDone
	}
	defer tx.used()
	if _, ok := tx.link.(*foreign); ok {
		return act() // the sql.Tx sees to it
	}
	return tx.conn.Raw(func(any) error { return act() })
}

// kill ends the transaction of a function that does not end: it may hold no lock,
// and can commit nothing.
func (tx *transaction) kill() {
	tx.killed.Store(true)
	tx.mu.Lock()
	ending := tx.ending
	tx.mu.Unlock()
	if ending != nil {
		ending.end(context.Canceled)
		return
	}
	ctx := &limited{Context: tx.ctx, limit: rollbackTimeout, ends: &tx.sessions.deadlines}
	defer ctx.end(context.Canceled)
	_ = tx.alone(func() error { return tx.link.Rollback(ctx) })
}

// discard makes database/sql close the connection.
func (tx *transaction) discard() {
	_ = tx.conn.Raw(func(any) error { return driver.ErrBadConn })
}

// release gives back all that the transaction holds, after its end.
func (tx *transaction) release() {
	tx.users.Lock() // waits for the last users, whose statements have been cancelled
	tx.gone = true
	tx.users.Unlock()
	tx.closeAll() // a statement that began after fn has returned may have left rows
	if _, ok := tx.link.(*foreign); ok {
		tx.link.Unbind()
	} else if tx.link != nil {
		_ = tx.conn.Raw(func(any) error { tx.link.Unbind(); return nil })
	}
	if tx.conn != nil {
		_ = tx.conn.Close()
	}
	if tx.queued {
		tx.pool.gate.Leave()
	}
}
