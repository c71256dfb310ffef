package sqlite

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sergas/dbkit/dbfx/internal/engine"
)

// The order in which things are taken, everywhere:
//
//  1. a connection of database/sql's, of which there are as many as are wanted;
//  2. the place in the session queue, by a session that writes;
//  3. the place in the write queue, by whoever writes;
//  4. a real connection.
//
// So who waits in a queue holds nothing that another needs, but for one who writes
// on a connection that a statement has changed, which nobody else may have.
//
// Sessions have a queue of their own, so that in the write queue there is one of
// them at most. Bare statements, whose wait the busy timeout bounds, then wait for
// one session and not for all: 2 beside 4 sessions of 0.6 ms did 1250 a second so,
// and 265 in one queue.

var errBusyTimeout = errors.New("SQLITE_BUSY_TIMEOUT has passed")

// bareUse is the holder of the write queue's place that is no session.
const bareUse = "a statement through *sql.DB"

// acquire takes what need asks for, beyond what c has already.
func (c *conn) acquire(ctx context.Context, n need) error {
	e := c.engine
	if c.readOnly && n == needWrite {
		n = needOwn // SQLite refuses the write
	}
	if c.real != nil && c.plain && len(c.real.results) == 0 && !e.serves(c.real.shelf, n) {
		c.giveBack() // before the wait in the queue
	}
	if (n == needWrite || e.single) && !c.queued {
		if err := c.lockForWrite(ctx); err != nil {
			return err
		}
		e.keeper.yield()
	}
	if c.real == nil {
		if n == needRead {
			e.keeper.read()
		}
		r, err := e.shelf(n).take(ctx)
		if err != nil {
			c.settle()
			return err
		}
		c.real, c.plain, r.holder = r, true, c
		r.hold.Store(c.trace.Hold)
		r.turn.Store(e.turns.Add(1))
	}
	if n == needWrite {
		if err := c.real.setReadOnly(false); err != nil {
			return err
		}
	}
	return nil
}

// lockForWrite waits for the place in the write queue.
//
// A session waits as long as its context allows, which POOL_TIMEOUT bounds. A
// bare statement waits no longer than the busy timeout: the holder may be the very
// goroutine that asks.
func (c *conn) lockForWrite(ctx context.Context) error {
	queue := c.engine.queue
	if c.bound {
		return c.lockForSession(ctx)
	}
	if c.queued = queue.TryEnter(bareUse); c.queued {
		return nil
	}
	start := time.Now()
	bounded, cancel := context.WithTimeoutCause(ctx, c.engine.opt.BusyTimeout, errBusyTimeout)
	defer cancel()
	if c.queued = queue.Enter(bounded, bareUse) == nil; c.queued {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return c.engine.locked(time.Since(start))
}

// lockForSession is lockForWrite through the session queue.
func (c *conn) lockForSession(ctx context.Context) error {
	e, name := c.engine, c.trace.Hold.Session
	if err := e.sessions.Enter(ctx, name); err != nil {
		return e.held(err)
	}
	if err := e.queue.Enter(ctx, name); err != nil {
		e.sessions.Leave()
		return e.held(err)
	}
	c.queued, c.inSessions = true, true
	return nil
}

// held is the end of a session's wait for the place: who has it, if that is known.
// It says nothing of a context, which the session itself knows better.
func (e *Engine) held(err error) error {
	holder, held := e.queue.Holder()
	if held == 0 {
		return err
	}
	return fmt.Errorf("the right to write has been held by %s for %s", holderName(holder), held.Round(time.Millisecond))
}

func holderName(holder string) string {
	switch holder {
	case bareUse:
		return holder
	case "":
		return "a session"
	}
	return fmt.Sprintf("session %q", holder)
}

// locked says who held the place that a statement has waited for.
func (e *Engine) locked(waited time.Duration) error {
	holder, held := e.queue.Holder()
	err := &engine.LockedError{
		Waited: waited, Holder: holderName(holder), Held: held,
		Advice: "inside Run write through the Session; SQLITE_BUSY_TIMEOUT bounds this wait",
	}
	if e.single {
		err.Advice = "everything runs on one connection, as the database is in memory or SQLITE_MAX_CONNS is 1: " +
			"inside Run, and while rows are open, use the Session alone; SQLITE_BUSY_TIMEOUT bounds this wait"
	}
	return err
}

// settle leaves the write queue when nothing is written any more: no transaction
// is open, and no result that writes as it is read.
func (c *conn) settle() {
	if !c.queued || c.begun || c.exposed {
		return
	}
	if c.real == nil {
		c.leaveQueue()
		return
	}
	if c.engine.single || c.real.writing() || !c.real.autocommit() {
		return
	}
	c.engine.wal.bound(c.real)
	c.leaveQueue()
}

func (c *conn) leaveQueue() {
	c.queued = false
	c.engine.keeper.resume()
	c.engine.queue.Leave()
	if c.inSessions {
		c.inSessions = false
		c.engine.sessions.Leave()
	}
}

// release gives back everything. The real connection goes first, so that whoever
// is next in the queue finds the one that writes.
func (c *conn) release() {
	if c.real != nil && c.queued && !c.exposed && c.real.autocommit() {
		c.engine.wal.bound(c.real)
	}
	if c.real != nil {
		c.giveBack()
	}
	if c.queued {
		c.leaveQueue()
	}
	c.begun, c.readOnly, c.exposed = false, false, false
}

// giveBack gives the real connection back, or closes it if it is not clean.
func (c *conn) giveBack() {
	r := c.real
	fit := r.clean()
	c.real, r.holder = nil, nil
	r.hold.Store(nil)
	r.turn.Store(0)
	if fit {
		r.shelf.put(r)
	} else {
		r.shelf.discard(r)
	}
}
