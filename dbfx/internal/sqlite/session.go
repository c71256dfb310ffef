package sqlite

import (
	"context"
	"database/sql/driver"

	"github.com/sergas/dbkit/dbfx/internal/engine"
)

// Start implements engine.Link.
func (c *conn) Start(ctx context.Context, h *engine.Hold, opts driver.TxOptions) (err error) {
	c.bound, c.trace.Hold = true, h
	c.open, err = c.begin(ctx, opts)
	return err
}

// Commit implements engine.Link.
func (c *conn) Commit(context.Context) error {
	open := c.open
	c.open = nil
	return open.Commit()
}

// Rollback implements engine.Link.
func (c *conn) Rollback(context.Context) error {
	open := c.open
	if open == nil {
		return nil
	}
	c.open = nil
	return open.Rollback()
}

// Lend implements engine.Link; nothing is sent when it is asked for.
func (c *conn) Lend(context.Context) {}

// Note implements engine.Link.
func (c *conn) Note(err error) { c.state.note(err) }

// Free implements engine.Link.
func (c *conn) Free() {
	c.state.mu.Lock()
	defer c.state.mu.Unlock()
	c.state.freed = true
}

// Unbind implements engine.Link.
func (c *conn) Unbind() { c.bound, c.open, c.trace.Hold = false, nil, nil }

// adopt makes a transaction of the session's for a *sql.Tx.
func (c *conn) adopt() (driver.Tx, error) {
	if c.open == nil {
		return nil, &engine.EndedError{First: c.state.read().First}
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
	g := &a.conn.state
	g.mu.Lock()
	freed := g.freed
	if !freed {
		g.finished = true
	}
	g.mu.Unlock()
	if freed {
		return nil
	}
	return a.conn.Rollback(context.Background())
}
