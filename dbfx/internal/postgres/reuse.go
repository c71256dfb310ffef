package postgres

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
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
	c.leaveIdle()
	c.reused, c.joined = true, false
	if c.stale() || c.misplaced() {
		return &deadError{errReplaced}
	}
	if c.wire.left() {
		if err := c.settle(ctx); err != nil {
			return err
		}
		if c.wire.left() {
			return nil
		}
	}
	if err := c.stdConn.ResetSession(ctx); err != nil {
		return &deadError{errReplaced}
	}
	if !c.wantsPing() {
		return nil
	}
	return c.ping(ctx)
}

// ping asks the peer whether it is there.
func (c *conn) ping(ctx context.Context) error {
	err := c.inquire(ctx, c.stdConn.Conn().PgConn().Ping)
	if err != nil {
		return err
	}
	c.returned = time.Now()
	if c.misplaced() { // the ping has brought the news
		return &deadError{errRole}
	}
	return nil
}

// inquire waits for the answer to what asks the peer, and leaves at least half of
// the time of ctx for another connection if there is none.
func (c *conn) inquire(ctx context.Context, ask func(context.Context) error) error {
	patience := pingTimeout
	if at, ok := engine.Deadline(ctx); ok {
		patience = min(patience, time.Until(at)/2)
	}
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	s := c.listen(ctx, nil, cancel)
	defer s.heard()
	err := ask(bounded)
	if err == nil {
		return nil
	}
	if bounded.Err() == nil && !c.stale() { // the line has ended, and was not only silent
		c.connector.expire()
	}
	return &deadError{fmt.Errorf("%w: %w", errReplaced, err)}
}

// IsValid implements driver.Validator: it decides at the return. A transaction
// that was begun by hand and left open must not wait, with its locks, for the
// next user, and neither must what its user has left there. A connection that another request waits for goes to it: Close then
// passes it on.
func (c *conn) IsValid() bool {
	c.returned = time.Now()
	pg := c.stdConn.Conn().PgConn()
	if pg.IsClosed() || c.wire.status(pg.TxStatus()) != 'I' || c.stale() {
		return false
	}
	if !c.tidy() {
		return false
	}
	s := c.connector.supply
	if c.passOn = s.wanted.Load() > 0 && !c.connector.opt.NoPool && c.connector.opt.Recycle != 0; c.passOn {
		return false
	}
	if !c.idling {
		c.idling = true
		s.idle.Add(1)
	}
	return true
}

func (c *conn) leaveIdle() {
	if c.idling {
		c.idling = false
		c.connector.supply.idle.Add(-1)
	}
}

// deadError is the end of a connection that had been idle. Nothing has run on it
// for this request, so that as driver.ErrBadConn it asks for another one.
type deadError struct{ err error }

func (e *deadError) Error() string        { return e.err.Error() }
func (e *deadError) Unwrap() error        { return e.err }
func (e *deadError) Is(target error) bool { return target == driver.ErrBadConn }

// lostError is the end of a connection that is not replaced.
type lostError struct{ err error }

func (e *lostError) Error() string { return e.err.Error() }
func (e *lostError) Unwrap() error { return e.err }

var (
	errReplaced = errors.New("an idle connection to the server was lost, or has to be replaced")
	// errConnLost stands for a driver.ErrBadConn that says nothing.
	errConnLost = errors.New("the connection to the server was lost before the statement was sent")
)

// ended returns the end of ctx where pgx calls the connection bad for it: pgx looks
// at ctx before it sends anything, and the connection is open still.
func (c *conn) ended(ctx context.Context, err error) error {
	if errors.Is(err, driver.ErrBadConn) && ctx.Err() != nil && !c.stdConn.Conn().IsClosed() {
		return ctx.Err()
	}
	return err
}

// unsent is replaceable for a statement: driver.ErrBadConn says that it was not
// sent.
func (c *conn) unsent(err error) error {
	switch {
	case !errors.Is(err, driver.ErrBadConn):
		return err
	case c.bound: // database/sql would look for another one, and wait for the session's end
		return &lostError{errConnLost}
	}
	return c.replaceable(err)
}

// replaceable decides what becomes of a failure before anything of the request has
// run. Only a connection that had been idle deserves a silent replacement: it is
// dead for a reason of the past, and so may be those that idled beside it. A fresh
// one that fails says why, and would again: a server that is down behind a living
// pooler, or a pooler in statement mode, made one Run dial 1,000 times.
func (c *conn) replaceable(err error) error {
	if err == nil || Classify(err).Kind != engine.Lost {
		return err
	}
	if bare := err == driver.ErrBadConn; bare { //nolint:errorlint // the one that says nothing
		err = errConnLost
		c.mu.Lock()
		if c.first != nil {
			err = fmt.Errorf("%w: %w", errConnLost, c.first)
		}
		c.mu.Unlock()
	}
	if fresh := !c.reused || c.bound && c.joined; fresh && time.Since(c.returned) < pingAfter {
		return &lostError{err}
	}
	if !role(err) && !c.stale() {
		c.connector.expire()
	}
	return &deadError{err}
}

// stale reports whether the connection is too old, or older than a renewal.
func (c *conn) stale() bool {
	return c.number <= c.connector.expired.Load() || !c.deadline.IsZero() && time.Now().After(c.deadline)
}

// misplaced reports whether the server is no longer what target_session_attrs asks
// for: it was demoted or promoted. PostgreSQL 14 and later say so on their own, with
// the answer to the next command.
//
// primary means what it does to libpq, a server that is not in recovery, also one
// on which default_transaction_read_only is on. prefer-standby stays on a primary
// that it found at the dial.
func (c *conn) misplaced() bool {
	pg := c.stdConn.Conn().PgConn()
	recovering := pg.ParameterStatus("in_hot_standby")
	if recovering == "" {
		return false // older, or a pooler that does not pass it on
	}
	readOnly := recovering == "on" || pg.ParameterStatus("default_transaction_read_only") == "on"
	switch c.connector.opt.Args["target_session_attrs"] {
	case "read-write":
		return readOnly
	case "read-only":
		return !readOnly
	case "primary":
		return recovering == "on"
	case "standby":
		return recovering == "off"
	case "prefer-standby":
		return c.standby && recovering == "off"
	}
	return false
}

// readsOnly reports whether target_session_attrs asks for a server that writes,
// which a transaction that only reads does not need.
func (c *conn) readsOnly(opts driver.TxOptions) bool {
	attrs := c.connector.opt.Args["target_session_attrs"]
	return opts.ReadOnly && (attrs == "read-write" || attrs == "primary")
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

// expire makes every connection that is open now be replaced at its next checkout
// or return. One that is being dialled was begun with what was known before, and is
// replaced too.
func (c *connector) expire() { c.expireFirst(c.dials.Load()) }

// expireFirst makes the connections of the first dials be replaced.
func (c *connector) expireFirst(dials int64) {
	for {
		before := c.expired.Load()
		if before >= dials || c.expired.CompareAndSwap(before, dials) {
			return
		}
	}
}

// age gives a new connection its end: not all at once after a restart.
func (c *connector) age(conn *conn) {
	conn.returned = time.Now()
	conn.socket = newSocket(conn.stdConn.Conn().PgConn().Conn())
	conn.standby = conn.stdConn.Conn().PgConn().ParameterStatus("in_hot_standby") == "on"
	if recycle := c.opt.Recycle; recycle > 0 {
		early := time.Duration(rand.Float64() * c.opt.RecycleJitter * float64(recycle))
		conn.deadline = conn.returned.Add(recycle - early)
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
