package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"time"

	"github.com/sergas/dbkit/dbfx/internal/engine"
)

// conn is a connection as database/sql holds it. It costs nothing: it takes a
// real one when it has something to run, and keeps it until it goes back, so that
// temporary tables, ATTACH and last_insert_rowid() behave as people expect.
//
// database/sql calls IsValid whenever a connection goes back: after Exec, when Rows
// close, at the end of a Tx, at sql.Conn.Close. Only driver.ErrBadConn makes it
// call Close instead.
type conn struct {
	engine *Engine
	trace  engine.Tracer
	state  txState

	bound bool // a session has it
	open  *tx  // the session's transaction, nil before and after it

	real       *realConn // nil while it has nothing to run
	plain      bool      // nothing but reads ran on real: another one would do
	queued     bool      // it has the place in the write queue
	inSessions bool      // and that in the session queue
	begun      bool      // a transaction of ours is open
	readOnly   bool      // what runs may not write: a read-only Tx, or a View in a Run
	exposed    bool      // real was given to code that writes past us: a restore
}

var (
	_ engine.Link = (*conn)(nil)
	_ rawConn     = (*conn)(nil)
)

// ExecContext implements driver.ExecerContext.
func (c *conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	return c.exec(ctx, c.engine.plan(query), args, false)
}

// exec runs a statement whose rows nobody wants.
func (c *conn) exec(ctx context.Context, p *plan, args []driver.NamedValue, prepared bool) (result driver.Result, err error) {
	ctx, statement := c.trace.Reveal(ctx)
	defer statement.End()
	start := c.trace.Begin(p.query)
	call, err := c.enter(ctx, p, args, prepared)
	if err != nil { // it was locked out, or could not be prepared
		c.trace.End(ctx, p.query, args, start, -1, err)
		return nil, err
	}
	start = c.restart(p, start)
	watch := call.real.watch(ctx)
	if call.stmt != nil {
		result, err = call.run(ctx, call.stmt, args)
	} else {
		result, err = call.runEach(ctx, args)
	}
	watch.end()
	err = because(ctx, err)
	call.end(err)
	if result == nil { // an empty statement; database/sql would panic on it
		result = driver.RowsAffected(0)
	}
	c.trace.Exec(ctx, p.query, args, start, result, err)
	if err != nil {
		return nil, err
	}
	return result, nil
}

// QueryContext implements driver.QueryerContext.
func (c *conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	return c.query(ctx, c.engine.plan(query), args, false)
}

// query runs a statement and returns its rows.
func (c *conn) query(ctx context.Context, p *plan, args []driver.NamedValue, prepared bool) (driver.Rows, error) {
	ctx, statement := c.trace.Reveal(ctx)
	defer statement.Returned()
	start := c.trace.Begin(p.query)
	call, err := c.enter(ctx, p, args, prepared)
	if err != nil {
		c.trace.End(ctx, p.query, args, start, -1, err)
		statement.End()
		return nil, err
	}
	call.statement = statement
	r := &rows{call: call, ctx: ctx, args: args, start: c.restart(p, start)}
	r.watch = call.real.watch(ctx)
	raw, err := call.open(ctx, args)
	if err != nil {
		err = because(ctx, err)
		r.finish(err, -1)
		return nil, err
	}
	r.watch.rest()
	r.rawRows = raw.(rawRows)
	r.kinds = kinds(r.rawRows)
	call.real.results = append(call.real.results, r)
	return r, nil
}

// restart returns when the statement began that was let in. In a transaction it had
// all that it needs; a bare one may have waited for the lock, and has not run yet.
func (c *conn) restart(p *plan, start time.Time) time.Time {
	if c.begun {
		return start
	}
	return c.trace.Restart(p.query)
}

// PrepareContext implements driver.ConnPrepareContext. What it returns is the text:
// each real connection keeps a statement of its own. A text that is no single
// statement, or a PRAGMA, is looked at when it runs: to prepare a PRAGMA is to run
// it.
func (c *conn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	ctx, _ = engine.Reveal(ctx)
	if err := c.mayRun(); err != nil {
		return nil, err
	}
	p := c.engine.plan(query)
	if p.at == 0 && (p.single || !p.judged) {
		judged, err := c.check(ctx, p)
		c.state.note(err)
		if err != nil {
			return nil, err
		}
		p = judged
	}
	return &stmt{conn: c, plan: p}, nil
}

// Prepare implements driver.Conn.
func (c *conn) Prepare(query string) (driver.Stmt, error) {
	return c.PrepareContext(context.Background(), query)
}

// Begin implements driver.Conn.
func (c *conn) Begin() (driver.Tx, error) {
	return c.BeginTx(context.Background(), driver.TxOptions{})
}

// BeginTx implements driver.ConnBeginTx.
func (c *conn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	if c.bound {
		return c.adopt()
	}
	t, err := c.begin(ctx, opts)
	if err != nil {
		return nil, err
	}
	return t, nil
}

// begin begins a transaction, of a session or not: BEGIN IMMEDIATE, or BEGIN on a
// connection that refuses writes. The driver itself ignores both the isolation
// level and ReadOnly.
func (c *conn) begin(ctx context.Context, opts driver.TxOptions) (*tx, error) {
	if err := checkIsolation(sql.IsolationLevel(opts.Isolation)); err != nil {
		return nil, err
	}
	need := needWrite
	if opts.ReadOnly {
		need = needRead
	}
	if err := c.acquire(ctx, need); err != nil {
		return nil, err
	}
	if err := c.real.setReadOnly(opts.ReadOnly); err != nil {
		c.settle()
		return nil, err
	}
	start := c.trace.Begin(beginSQL(opts.ReadOnly))
	c.state.open()
	c.begun, c.plain, c.readOnly = true, false, opts.ReadOnly
	err := c.real.beginTx(ctx, opts.ReadOnly)
	c.trace.End(ctx, beginSQL(opts.ReadOnly), nil, start, 0, err)
	t := &tx{conn: c, ctx: ctx}
	if err != nil {
		return nil, t.end(err)
	}
	return t, nil
}

func beginSQL(readOnly bool) string {
	if readOnly {
		return "BEGIN"
	}
	return "BEGIN IMMEDIATE"
}

// Ping implements driver.Pinger. Where everything runs on one connection it does
// not wait for the one who has it: that one works with it.
func (c *conn) Ping(ctx context.Context) error {
	if c.engine.single && c.real == nil && !c.engine.queue.TryEnter(bareUse) {
		return c.engine.pingBeside(ctx)
	}
	if c.engine.single && c.real == nil {
		c.queued = true
	}
	if err := c.acquire(ctx, needRead); err != nil {
		return err
	}
	defer c.settle()
	return c.real.raw.Ping(ctx)
}

// ResetSession implements driver.SessionResetter.
func (c *conn) ResetSession(context.Context) error { return nil }

// IsValid implements driver.Validator; database/sql asks when a connection comes
// back.
func (c *conn) IsValid() bool {
	c.release()
	return true
}

// Close implements driver.Conn.
func (c *conn) Close() error {
	c.release()
	return nil
}

// State implements engine.Link. It stays true when the real connection has gone
// back already.
func (c *conn) State() engine.State { return c.state.read() }

// mayRun refuses statements after the end of their transaction.
func (c *conn) mayRun() error {
	if c.bound && c.open == nil {
		return &engine.EndedError{First: c.state.read().First}
	}
	return c.state.enter()
}

// Forgive implements engine.Link.
func (c *conn) Forgive() { c.state.forgive() }

// SetReadOnly implements engine.Link.
func (c *conn) SetReadOnly(on bool) error {
	if c.real == nil {
		return errors.New("no transaction is open")
	}
	c.readOnly = on
	return c.real.setReadOnly(on)
}
