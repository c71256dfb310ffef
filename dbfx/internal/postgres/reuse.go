package postgres

import (
	"context"
	"database/sql/driver"
	"math/rand/v2"
	"time"

	"github.com/sergas/dbkit/dbfx/internal/engine"
)

const (
	pingTimeout = 2 * time.Second  // a peer that vanished answers nothing
	pingAfter   = time.Second      // of idling; what vanished silently only a ping finds
	lookAfter   = time.Millisecond // of idling; a busy connection that dies fails what runs on it anyway
)

// ResetSession implements driver.SessionResetter: it decides at the checkout
// whether the connection is still good. database/sql takes another one for
// driver.ErrBadConn, and ignores every other error.
//
// A look at the socket, where the connection was not in use a millisecond ago,
// costs nothing that can be measured. It finds what a restart, a crash or
// pg_terminate_backend left, where pgx by default failed 30 of 30 requests; a ping
// at every checkout took 40 % of the throughput. A connection that is found dead
// makes all older ones suspect at once.
func (c *conn) ResetSession(ctx context.Context) error {
	if c.stale() || c.demoted() {
		return driver.ErrBadConn
	}
	if err := c.stdConn.ResetSession(ctx); err != nil {
		return err
	}
	if !c.wantsPing() {
		return nil
	}
	bounded, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	if err := c.stdConn.Conn().PgConn().Ping(bounded); err != nil {
		if ctx.Err() == nil {
			c.connector.expire()
		}
		return driver.ErrBadConn
	}
	if c.demoted() { // the ping has brought the news
		return driver.ErrBadConn
	}
	return nil
}

// IsValid implements driver.Validator: it decides at the return. A transaction
// that was begun by hand and left open must not wait, with its locks, for the
// next user.
func (c *conn) IsValid() bool {
	c.returned = time.Now()
	pg := c.stdConn.Conn().PgConn()
	return !pg.IsClosed() && pg.TxStatus() == 'I' && !c.stale()
}

// stale reports whether the connection is too old, or older than a renewal.
func (c *conn) stale() bool {
	return c.born.UnixNano() <= c.connector.generation.Load() || !c.deadline.IsZero() && time.Now().After(c.deadline)
}

// demoted reports whether a connection that was to write is to a server that no
// longer does. PostgreSQL 14 and later say so on their own, with the answer to the
// next command.
func (c *conn) demoted() bool {
	switch c.connector.opt.Args["target_session_attrs"] {
	case "read-write", "primary":
		pg := c.stdConn.Conn().PgConn()
		return pg.ParameterStatus("in_hot_standby") == "on" || pg.ParameterStatus("default_transaction_read_only") == "on"
	}
	return false
}

func (c *conn) wantsPing() bool {
	switch c.connector.opt.PrePing {
	case "off":
		return false
	case "always":
		return true
	}
	idle := time.Since(c.returned)
	return idle > pingAfter || idle > lookAfter && c.socket.pending()
}

// expire makes every connection that is open now be replaced at its next
// checkout or return.
func (c *connector) expire() { c.generation.Store(time.Now().UnixNano()) }

// age gives a new connection its end: not all at once after a restart.
func (c *connector) age(conn *conn) {
	conn.born = time.Now()
	conn.returned = conn.born
	conn.socket = newSocket(conn.stdConn.Conn().PgConn().Conn())
	if recycle := c.opt.Recycle; recycle > 0 {
		early := time.Duration(rand.Float64() * c.opt.RecycleJitter * float64(recycle))
		conn.deadline = conn.born.Add(recycle - early)
	}
}

// Renew implements engine.Engine.
func (e *Engine) Renew() bool {
	e.connector.expire()
	if e.replica != nil {
		e.replica.expire()
	}
	return true
}

var (
	_ driver.SessionResetter = (*conn)(nil)
	_ driver.Validator       = (*conn)(nil)
	_ engine.Link            = (*conn)(nil)
)
