package postgres

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sergas/dbkit/dbfx/internal/engine"
)

// isolation is how PostgreSQL calls the levels of database/sql; snapshot is what
// its repeatable read gives.
var isolation = map[sql.IsolationLevel]pgx.TxIsoLevel{
	sql.LevelDefault:         "",
	sql.LevelReadUncommitted: pgx.ReadUncommitted,
	sql.LevelReadCommitted:   pgx.ReadCommitted,
	sql.LevelRepeatableRead:  pgx.RepeatableRead,
	sql.LevelSnapshot:        pgx.RepeatableRead,
	sql.LevelSerializable:    pgx.Serializable,
}

// Start implements engine.Link.
func (c *conn) Start(ctx context.Context, h *engine.Hold, opts driver.TxOptions) error {
	c.bound, c.open, c.freed, c.finished, c.rejoined = true, nil, false, false, false
	c.trace.Hold = h
	h.Backend.Store(c.stdConn.Conn().PgConn().PID())
	c.forget()
	c.witness.begin()
	if !c.plain {
		err := c.board(ctx, opts)
		if err == nil && c.connector.opt.Eager {
			err = c.replaceable(c.depart(ctx))
			c.witness.begin() // what was sent with BEGIN is none of the session's
		}
		c.note(err)
		return err
	}
	// Where pgx speaks the simple protocol, something on the way may not know the
	// other, in which BEGIN rides.
	options, query := pgx.TxOptions{IsoLevel: isolation[sql.IsolationLevel(opts.Isolation)]}, label(opts)
	if opts.ReadOnly {
		options.AccessMode = pgx.ReadOnly
	}
	start := c.trace.Begin(query)
	open, err := c.stdConn.Conn().BeginTx(ctx, options)
	if err == nil && !c.readsOnly(opts) && c.misplaced() {
		err = errRole // nothing has run: another connection will do
	}
	for _, first := range c.connector.onBegin {
		if err == nil {
			_, err = c.stdConn.Conn().Exec(ctx, first)
		}
	}
	err = c.replaceable(err)
	c.note(err)
	c.trace.End(ctx, query, nil, start, 0, err)
	if err != nil {
		if open != nil {
			_ = open.Rollback(ctx)
		}
		return err
	}
	c.open = open
	return nil
}

// Commit implements engine.Link.
func (c *conn) Commit(ctx context.Context) error {
	open := c.open
	c.open = nil
	if done, err := c.neverSent(); done {
		return err
	}
	start := c.trace.Begin("COMMIT")
	err := c.commit(func() error { return open.Commit(ctx) })
	c.trace.End(ctx, "COMMIT", nil, start, 0, err)
	return err
}

// Rollback implements engine.Link.
func (c *conn) Rollback(ctx context.Context) error {
	open := c.open
	c.open = nil
	if open == nil {
		return nil
	}
	if done, _ := c.neverSent(); done {
		return nil
	}
	start := c.trace.Begin("ROLLBACK")
	err := open.Rollback(ctx)
	c.trace.End(ctx, "ROLLBACK", nil, start, 0, err)
	return err
}

// Lend implements engine.Link.
func (c *conn) Lend(ctx context.Context) {
	if c.ride != nil {
		c.ride.ctx = ctx
	}
}

// Note implements engine.Link.
func (c *conn) Note(err error) { c.note(err) }

// State implements engine.Link.
func (c *conn) State() engine.State {
	c.mu.Lock()
	defer c.mu.Unlock()
	committed, rolledBack := c.witness.left(c.closed)
	state := engine.State{Ended: c.closed || committed || rolledBack, Left: committed, Finished: c.finished, First: c.refused}
	switch {
	case c.finished:
		return state
	case c.first != nil:
		state.First = c.first
	case (committed || rolledBack) && state.First == nil:
		state.First = engine.ErrControl
	case state.First == nil && (state.Ended || c.status == 'E'):
		state.First = pgx.ErrTxCommitRollback
	}
	return state
}

// Forgive implements engine.Link.
func (c *conn) Forgive() {
	c.forget()
	c.note(nil)
}

// SetReadOnly implements engine.Link; the transaction itself is read-only.
func (c *conn) SetReadOnly(bool) error { return nil }

// Free implements engine.Link.
func (c *conn) Free() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.freed = true
}

// Unbind implements engine.Link.
func (c *conn) Unbind() {
	c.bound, c.open, c.ride, c.trace.Hold = false, nil, nil, nil
	c.wire.disarm()
	c.witness.end()
}

// rollbackTimeout bounds a ROLLBACK that has no context.
const rollbackTimeout = 5 * time.Second

// adopt makes a transaction of the session's for a *sql.Tx.
func (c *conn) adopt() (driver.Tx, error) {
	if c.open == nil {
		return nil, &engine.EndedError{First: c.State().First}
	}
	return adopted{c}, nil
}

// adopted is a session's transaction in the hands of a *sql.Tx. Its user does not
// end the session with it: what he does not want is rolled back, and the session
// says so.
type adopted struct{ conn *conn }

// Commit implements driver.Tx.
func (a adopted) Commit() error {
	if err := a.Rollback(); err != nil {
		return err
	}
	return engine.ErrControl
}

// Rollback implements driver.Tx.
func (a adopted) Rollback() error {
	c := a.conn
	c.mu.Lock()
	freed := c.freed
	if !freed {
		c.finished = true
	}
	c.mu.Unlock()
	if freed {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), rollbackTimeout)
	defer cancel()
	return c.Rollback(ctx)
}
