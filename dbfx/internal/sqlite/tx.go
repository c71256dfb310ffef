package sqlite

import (
	"context"
	"database/sql/driver"
)

// tx is a transaction that ends once, and says if SQLite ended it before.
type tx struct {
	conn *conn
	ctx  context.Context // of BeginTx, for the trace
}

// Commit implements driver.Tx.
func (t *tx) Commit() error {
	if ended := t.conn.state.finish(); ended != nil {
		return t.end(ended) // which rolls back a BEGIN of the user's
	}
	start := t.conn.trace.Begin("COMMIT")
	err := t.conn.real.commitTx()
	t.conn.trace.End(t.ctx, "COMMIT", nil, start, 0, err)
	return t.end(err)
}

// Rollback implements driver.Tx.
func (t *tx) Rollback() error {
	ended := t.conn.state.finish()
	start := t.conn.trace.Begin("ROLLBACK")
	var err error
	if ended == nil { // else there is nothing left to roll back
		err = t.conn.real.rollbackTx()
	}
	t.conn.trace.End(t.ctx, "ROLLBACK", nil, start, 0, err)
	return t.end(err)
}

// end gives back what the transaction held. A session's real connection goes back
// at once; that of a *sql.Tx when database/sql says so, for a sql.Conn may have a
// use for it yet.
func (t *tx) end(err error) error {
	c := t.conn
	if c.real == nil {
		return err // it was closed under the transaction
	}
	if !c.real.autocommit() {
		_ = c.real.run("rollback")
	}
	broken := !c.real.autocommit() || c.real.setReadOnly(c.real.shelf.readOnly) != nil
	c.state.close()
	c.begun, c.readOnly = false, false
	if c.bound {
		c.release()
	} else {
		c.settle()
	}
	if broken {
		return driver.ErrBadConn
	}
	return err
}
