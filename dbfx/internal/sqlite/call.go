package sqlite

import (
	"context"
	"database/sql/driver"
	"fmt"
	"time"

	"github.com/sergas/dbkit/dbfx/internal/engine"
)

// call is a statement that was let in.
type call struct {
	query string
	kept  *plan  // the cache's, nil where the text is run as it is
	leave func() // gives the write gate back; nil where it was not taken
	waits bool   // it may wait for another process's lock

	statement *engine.Call // nil where it is not a session's
}

// end gives back what the call holds, after its statement ended with err.
func (k *call) end(c *conn, err error) {
	if k.kept != nil {
		c.cache.release(k.kept, err)
	}
	c.state.note(err)
	k.statement.End()
	if k.leave != nil {
		k.leave()
	}
}

// enter lets a statement in: it refuses what has no transaction any more, fits
// the arguments, queues a bare write, and finds the prepared statement.
func (c *conn) enter(ctx context.Context, query string, args []driver.NamedValue, keep bool) (call, error) {
	inTx, err := c.inTx()
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return call{}, err
	}
	var p plan
	kept := c.cache.find(query)
	if kept != nil {
		p = *kept
	} else {
		p = newPlan(query)
	}
	if err := bind(&p, args); err != nil {
		return call{}, err
	}
	if c.bound && kept == nil {
		if err := engine.SQLite.CheckControl(query); err != nil {
			c.state.fail(err) // whoever asked for a ROLLBACK must not get a commit
			return call{}, err
		}
	}
	if p.word == "BEGIN" || p.word == "SAVEPOINT" {
		c.loose = true
	}
	// PRAGMA and ATTACH can meet a lock too; a read in WAL mode and what runs under
	// BEGIN IMMEDIATE cannot.
	k := call{query: query, waits: !inTx && p.word != "SELECT" && p.word != "VALUES"}
	if p.writes && !inTx {
		if k.leave, err = c.queue(ctx, true); err != nil {
			return call{}, err
		}
	}
	if keep {
		k.kept, err = c.prepared(ctx, kept, p)
	}
	if err != nil {
		k.end(c, because(ctx, err))
		return call{}, err
	}
	return k, nil
}

// prepared returns the kept plan for use, or prepares one now if it is worth it.
func (c *conn) prepared(ctx context.Context, kept *plan, p plan) (*plan, error) {
	if kept == nil {
		if !c.cache.wants(&p) {
			return nil, nil
		}
		raw, err := c.rawConn.PrepareContext(ctx, p.query)
		if err != nil {
			return nil, err
		}
		p.stmt = raw.(rawStmt)
		kept = c.cache.add(p)
	}
	c.cache.use(kept)
	return kept, nil
}

// bareWrite is the holder of the gate that is no session.
const bareWrite = "a write through *sql.DB"

// queue takes the write gate for a transaction that writes, or for a bare write
// in none. Who has the gate has its connection already, and so never waits for
// one that waits for the gate.
//
// A session waits as long as its context allows, which POOL_TIMEOUT bounds. A
// bare write waits no longer than the busy timeout: the holder may be the very
// goroutine that asks.
func (c *conn) queue(ctx context.Context, write bool) (leave func(), err error) {
	if !write || c.reader || c.engine.opt.Memory {
		return nil, nil
	}
	gate := c.engine.gate
	if c.bound {
		if err := gate.Enter(ctx, c.trace.Hold.Session); err != nil {
			return nil, err
		}
		return gate.Leave, nil
	}
	if gate.TryEnter(bareWrite) {
		return gate.Leave, nil
	}
	start := time.Now()
	bounded, cancel := context.WithTimeoutCause(ctx, c.engine.opt.BusyTimeout, errBusyTimeout)
	defer cancel()
	if err := gate.Enter(bounded, bareWrite); err == nil {
		return gate.Leave, nil
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	holder, held := gate.Holder()
	switch holder {
	case bareWrite:
	case "":
		holder = "a session"
	default:
		holder = fmt.Sprintf("session %q", holder)
	}
	return nil, &engine.LockedError{
		Waited: time.Since(start), Holder: holder, Held: held,
		Advice: "inside Run write through the Session; SQLITE_BUSY_TIMEOUT bounds this wait",
	}
}
