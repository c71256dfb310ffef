package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sergas/dbkit/dbfx/internal/engine"
)

// again reports whether the statement that gave err is to be sent again: it was the
// first of a session, the connection, which had idled, was dead, and another one is
// in its place. It puts into err why there is none.
//
// Nothing is committed before COMMIT. So what found no one, or no one who answered,
// may be said again: fn never meets a connection that died while no one looked.
// Each is replaced at most once, and a fresh one that fails says why. One that joined
// another request's dial counts as idle once: where twenty sessions shared the dials
// to a server that let everyone in and cut everyone off, one session had 14.
func (c *conn) again(ctx context.Context, err *error) bool {
	r := c.ride
	if *err == nil || r == nil || !c.reused || ctx.Err() != nil || !c.stdConn.Conn().IsClosed() || !c.wire.deserted() {
		return false
	}
	if c.joined {
		if c.rejoined {
			return false
		}
		c.rejoined = true
	}
	c.silence.heard()
	if !c.stale() {
		c.connector.expire()
	}
	c.connector.supply.gone()
	fresh, failure := c.replacement(ctx)
	if failure != nil {
		*err = failure
		c.reused = false
		c.connector.supply.came() // Close counts it
		return false
	}
	c.takeOver(fresh)
	c.witness.begin()
	if c.trace.Hold != nil {
		c.trace.Hold.Backend.Store(c.stdConn.Conn().PgConn().PID())
	}
	begin, failure := c.begin(r.opts)
	if failure != nil {
		*err = failure
		return false
	}
	c.wire.arm(begin)
	c.listenForBegin(ctx)
	return true
}

// replacement takes another connection of the pool's, as a checkout does and within
// the time of one.
func (c *conn) replacement(ctx context.Context) (*conn, error) {
	var wait engine.Wait
	if hold := c.trace.Hold; hold != nil {
		wait = hold.Wait
	}
	bounded, cancel := context.WithCancel(ctx)
	defer cancel()
	if wait != nil && wait.Patience() > 0 {
		bounded, cancel = context.WithTimeout(ctx, wait.Patience())
		defer cancel()
	}
	start := time.Now()
	fresh, err := c.connector.take(engine.ForSession(bounded))
	var full *growthError
	if errors.As(err, &full) { // the server has no place, and the pool has an idle one
		fresh, err = c.exchange(bounded, wait, full.err)
	}
	switch {
	case err == nil:
		return fresh, nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case bounded.Err() != nil:
		return nil, wait.TimedOut(time.Since(start), err)
	}
	return nil, err
}

// exchange takes what an idle connection of the pool is made of, and leaves it what c
// is made of, which the pool then closes. refused says why there is no new one.
func (c *conn) exchange(ctx context.Context, wait engine.Wait, refused error) (*conn, error) {
	if wait == nil {
		return nil, refused
	}
	link, giveBack, err := wait.Another(engine.ForSession(ctx))
	if full := (*growthError)(nil); errors.As(err, &full) { // as driver.ErrBadConn it would be lost
		err = full.err
	}
	if err != nil {
		return nil, err
	}
	defer giveBack()
	other, ok := link.(*conn)
	if !ok {
		return nil, refused
	}
	fresh := &conn{}
	fresh.takeOver(other)
	other.takeOver(c)
	c.connector.supply.came() // the pool counts the end of c's once more
	return fresh, nil
}

// takeOver puts what other is made of in the place of what c was made of. Prepared
// statements find out by themselves.
func (c *conn) takeOver(other *conn) {
	c.stdConn, c.wire, c.witness, c.socket = other.stdConn, other.wire, other.witness, other.socket
	c.number, c.deadline, c.returned = other.number, other.deadline, other.returned
	c.plain, c.reused, c.joined, c.standby = other.plain, other.reused, other.joined, other.standby
}

// settle sees to a ROLLBACK that is on its way on a connection which is being taken
// from the pool. A session need not wait for it, unless there has been no answer
// for long, or it is there.
//
// Behind a pooler everyone waits: with that answer PgBouncer gives the place at the
// server away, also when half of the next request has come. BEGIN went to one
// server, and its statement to another, which committed it.
func (c *conn) settle(ctx context.Context) error {
	if engine.IsForSession(ctx) && !c.plain && !c.connector.opt.Pooler && !c.wantsPing() {
		return nil
	}
	return c.wait(ctx)
}

// wait waits for the answer to a ROLLBACK that is on its way, no longer than a ping
// may take. The answer may have lain there for long: it does not prove that the line
// is there now, as one to a ping does.
func (c *conn) wait(ctx context.Context) error {
	pg := c.stdConn.Conn().PgConn()
	err := c.inquire(ctx, func(ctx context.Context) error { return c.wire.drain(ctx, pg) })
	if err != nil {
		die(pg)
	}
	return err
}

// die closes a connection of which it is not known where it stands.
func die(pg *pgconn.PgConn) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = pg.Close(ctx)
}
