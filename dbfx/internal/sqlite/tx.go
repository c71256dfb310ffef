package sqlite

import (
	"context"
	"database/sql/driver"
)

// tx is a transaction that ends once, and says if SQLite ended it before.
type tx struct {
	raw      driver.Tx
	conn     *conn
	ctx      context.Context // of BeginTx, for the trace
	leave    func()
	readOnly bool
}

// Commit implements driver.Tx.
func (t *tx) Commit() error {
	if ended := t.conn.state.finish(); ended != nil {
		_ = t.raw.Rollback() // a BEGIN of the user's may be open
		return t.end(ended)
	}
	start := t.conn.trace.Begin("COMMIT")
	err := t.raw.Commit()
	t.conn.trace.End(t.ctx, "COMMIT", nil, start, 0, err)
	return t.end(err)
}

// Rollback implements driver.Tx.
func (t *tx) Rollback() error {
	ended := t.conn.state.finish()
	start := t.conn.trace.Begin("ROLLBACK")
	err := t.raw.Rollback()
	if ended != nil {
		err = nil // there was nothing left to roll back
	}
	t.conn.trace.End(t.ctx, "ROLLBACK", nil, start, 0, err)
	return t.end(err)
}

// end gives back what the transaction held. A connection that stays read-only
// would fail the next writer, so it must not go back to the pool.
func (t *tx) end(err error) error {
	t.conn.state.close()
	if t.leave != nil {
		t.leave()
	}
	if t.readOnly {
		if reset := t.conn.SetReadOnly(false); reset != nil {
			return driver.ErrBadConn
		}
	}
	return err
}
