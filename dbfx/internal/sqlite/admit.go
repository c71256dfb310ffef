package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"

	"github.com/sergas/dbkit/dbfx/internal/engine"
)

// call is a statement that was let in.
type call struct {
	conn  *conn
	real  *realConn
	plan  *plan
	stmt  rawStmt // nil where the text runs as it is: several statements, or a PRAGMA
	kept  *kept   // the cache's, nil where stmt is closed after its use
	waits bool    // it may wait for another process's lock

	statement *engine.Call // nil where it is not a session's
}

var errReadOnly = errors.New("a PRAGMA among several statements is not run in a read-only transaction: it could end the protection from writes")

// enter lets a statement in: it refuses what may not run, finds out what it needs,
// takes that, and prepares it.
func (c *conn) enter(ctx context.Context, p *plan, args []driver.NamedValue, prepared bool) (call, error) {
	if err := c.mayRun(); err != nil {
		return call{}, err
	}
	if err := ctx.Err(); err != nil {
		return call{}, err
	}
	if err := bind(p, args); err != nil {
		return call{}, err
	}
	k, err := c.admit(ctx, p, prepared)
	if err == nil {
		err = c.refuse(k.plan)
	}
	if err != nil {
		err = because(ctx, err)
		if k.real == nil {
			c.state.note(err)
			c.settle()
		} else {
			k.end(err)
		}
		return call{}, err
	}
	return k, nil
}

// refuse refuses what a session's transaction must not run.
func (c *conn) refuse(p *plan) error {
	if c.bound && !p.single { // a single statement that SQLite has prepared ends no transaction
		if err := engine.SQLite.CheckControl(p.query); err != nil {
			c.state.fail(err) // whoever asked for a ROLLBACK must not get a commit
			return err
		}
	}
	if c.readOnly && p.pragma && !p.alone() {
		c.state.fail(errReadOnly)
		return errReadOnly
	}
	return nil
}

// admit takes the connection that the text needs and prepares it there. A text that
// is not known yet is prepared where its first word sends it; when SQLite says that
// it writes and it is not where writes are, it goes there.
func (c *conn) admit(ctx context.Context, p *plan, prepared bool) (call, error) {
	known := p.judged
	if err := c.acquire(ctx, p.need); err != nil {
		return call{}, err
	}
	var first rawStmt
	if !known {
		var err error
		if p, first, err = c.real.judge(ctx, p); err != nil {
			return call{}, err
		}
		c.engine.plans.add(p)
		if c.lacks(p.need) {
			if first != nil {
				_ = first.Close()
				first = nil
			}
			if err := c.acquire(ctx, p.need); err != nil {
				return call{}, err
			}
		}
	}
	r := c.real
	k := call{conn: c, real: r, plan: p, stmt: first, waits: p.need != needRead && !c.begun}
	if p.need != needRead {
		c.plain = false
		r.changed = r.changed || p.changes
		r.created = r.created || p.creates
	}
	if !p.single {
		return k, nil
	}
	return k, k.prepare(ctx, known || prepared)
}

// lacks reports whether what c has taken is not enough.
func (c *conn) lacks(n need) bool {
	return n != needRead && c.plain && c.real.shelf != c.engine.writer || n == needWrite && !c.queued && !c.readOnly
}

// prepare finds the statement in the cache or prepares it, and keeps it if the text
// was seen before.
func (k *call) prepare(ctx context.Context, keep bool) error {
	cache := k.real.cache
	if k.stmt == nil {
		if k.kept = cache.use(k.plan.query); k.kept != nil {
			k.stmt = k.kept.stmt
			return nil
		}
		raw, err := k.real.raw.PrepareContext(ctx, k.plan.query)
		if err != nil {
			return err
		}
		k.stmt = raw.(rawStmt)
	}
	if keep && k.plan.keeps() {
		k.kept = cache.add(k.plan.query, k.stmt)
	}
	return nil
}

// end gives back what the call holds, after its statement ended with err.
func (k *call) end(err error) {
	switch {
	case k.kept != nil:
		k.real.cache.release(k.kept, err)
	case k.stmt != nil:
		_ = k.stmt.Close()
	}
	c := k.conn
	c.state.note(err)
	k.statement.End()
	if k.plan.pragma && k.plan.changes {
		k.real.lookAtPatience()
	}
	if c.readOnly && k.plan.pragma {
		k.real.readOnly = false // perhaps: it is set once more
		_ = k.real.setReadOnly(true)
	}
	c.settle()
}

// check prepares a text to see whether SQLite takes it, and keeps the statement
// where it will run.
func (c *conn) check(ctx context.Context, p *plan) (*plan, error) {
	need := needRead
	if c.begun {
		need = p.need
	}
	if err := c.acquire(ctx, need); err != nil {
		return nil, err
	}
	defer c.settle()
	r := c.real
	var first rawStmt
	if p.judged {
		k := call{conn: c, real: r, plan: p}
		if err := k.prepare(ctx, c.begun || p.need == needRead); err != nil {
			return nil, because(ctx, err)
		}
		if k.kept != nil {
			r.cache.release(k.kept, nil)
			return p, nil
		}
		first = k.stmt
	} else {
		var err error
		if p, first, err = r.judge(ctx, p); err != nil {
			return nil, because(ctx, err)
		}
		c.engine.plans.add(p)
	}
	if first == nil {
		return p, nil
	}
	if p.keeps() && (c.begun || p.need == needRead) {
		if k := r.cache.add(p.query, first); k != nil {
			r.cache.release(k, nil)
			return p, nil
		}
	}
	return p, first.Close()
}

// judge asks SQLite what words could not tell. It returns the plan with the answer
// and, where the text is one statement, that statement.
func (r *realConn) judge(ctx context.Context, known *plan) (*plan, rawStmt, error) {
	p := *known
	if p.at == 0 {
		raw, err := r.raw.PrepareContext(ctx, p.query)
		if err != nil {
			return known, nil, err
		}
		if at := handle(raw, "pstmt"); at != 0 {
			p.judged, p.single, p.creates = true, true, p.word == "CREATE"
			if !r.reads(at) {
				p.require(needWrite)
			}
			return &p, raw.(rawStmt), nil
		}
		_ = raw.Close() // several statements: the driver runs them from the text
	}
	return &p, nil, r.judgeEach(&p)
}

// judgeEach looks at each statement of a text, up to the first that writes.
func (r *realConn) judgeEach(p *plan) error {
	text, err := r.texts(p.query)
	if err != nil {
		return err
	}
	defer text.close()
	for !p.judged {
		end, reads, ok := text.next(p.at)
		if !ok || !reads {
			// Whether SQLite could not prepare it or it writes, all of it runs
			// with the write queue's place.
			p.require(needWrite)
			p.lookOn(p.query[p.at:])
			p.judged = true
			break
		}
		p.at = end
		p.scan()
	}
	return nil
}
