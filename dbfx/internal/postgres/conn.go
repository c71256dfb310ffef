package postgres

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/stdlib"

	"github.com/sergas/dbkit/dbfx/internal/engine"
)

// stdConn gives the embedded field a name that does not hide the method Conn,
// through which sql.Conn.Raw users reach *pgx.Conn.
type stdConn = stdlib.Conn

// conn is a connection that never lets database/sql send a statement twice,
// knows whether its transaction stands, and tells what it ran.
type conn struct {
	*stdConn
	wire      *wire // below stdConn
	plain     bool  // every statement uses the simple protocol
	connector *connector
	trace     engine.Tracer

	number   int64     // of its dial
	deadline time.Time // zero where no age ends it
	returned time.Time // to the pool
	socket   socket
	reused   bool // it was idle before its present use, or is joined
	joined   bool // its dial was another request's, so that it may have idled
	rejoined bool // this session has had a joined one replaced
	idling   bool // it counts as idle
	passOn   bool // Close passes it on to a request that waits
	standby  bool // it was dialled as one

	witness *witness
	current *rows // the result that is being read

	bound bool   // a session has it
	open  ending // the session's transaction, nil before and after it
	ride  *ride  // the same, where BEGIN goes with the first statement

	silence *silence // after BEGIN, nil once it has been heard

	mu     sync.Mutex // a session asks while another goroutine may run a statement
	status byte       // as PostgreSQL reports it: I, T or E
	closed bool
	first  error
	// refused is a COMMIT or ROLLBACK that was not sent.
	refused  error
	freed    bool // the session ends what adopted the transaction
	finished bool // what adopted it was ended by its user
}

// ExecContext implements driver.ExecerContext.
//
// pgx 5.9 to 5.12 calls an argument-less statement whose reply was lost safe to
// retry, stdlib makes driver.ErrBadConn of that, and database/sql sends it
// again: one INSERT gave three rows. A connection that was open before the call
// has sent it, so the error says that.
func (c *conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	ctx, call := c.trace.Reveal(ctx)
	defer call.End()
	if _, err := c.admit(query); err != nil {
		return nil, err
	}
	open := !c.stdConn.Conn().IsClosed()
	c.departs(ctx)
	start := c.trace.Begin(query)
	result, err := c.stdConn.ExecContext(ctx, query, args)
	for c.again(ctx, &err) {
		result, err = c.stdConn.ExecContext(ctx, query, args)
	}
	if c.replan(ctx, query, err) {
		result, err = c.stdConn.ExecContext(ctx, query, args)
	}
	err = c.ended(ctx, err)
	if open && errors.Is(err, driver.ErrBadConn) && (len(args) == 0 || c.plain) {
		err = engine.ErrLostReply
	}
	err = c.witness.ofCopy(c.unsent(err))
	if result == nil {
		result = driver.RowsAffected(0)
	}
	c.note(err)
	c.trace.Exec(ctx, query, args, start, result, err)
	if err != nil {
		return nil, err
	}
	return result, nil
}

// admit reads a text that is to be sent. A session's transaction is ended by the
// session alone, and nothing runs after its end.
func (c *conn) admit(query string) (script, error) {
	if c.stdConn.Conn().PgConn().IsBusy() {
		return script{}, engine.ErrRowsOpen // pgx would call the connection bad
	}
	rules := engine.PostgreSQL
	if c.stdConn.Conn().PgConn().ParameterStatus("standard_conforming_strings") == "off" {
		rules = engine.PostgreSQLBackslash
	}
	s := readScript(query, rules)
	return s, c.allow(query, s, rules)
}

// allow lets a text go that was read before.
func (c *conn) allow(query string, s script, rules engine.Rules) error {
	if !c.bound {
		c.witness.tell(query, rules, s)
		return nil
	}
	if c.open == nil {
		return &engine.EndedError{First: c.State().First}
	}
	if committed, rolledBack := c.witness.left(false); committed || rolledBack {
		return &engine.EndedError{First: engine.ErrControl}
	}
	if s.control != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.refused = s.control // whoever asked for a ROLLBACK must not get a commit
		return s.control
	}
	c.witness.tell(query, rules, s)
	return nil
}

// QueryContext implements driver.QueryerContext.
func (c *conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	ctx, call := c.trace.Reveal(ctx)
	defer call.Returned()
	if _, err := c.admit(query); err != nil {
		call.End()
		return nil, err
	}
	open := !c.stdConn.Conn().IsClosed()
	c.departs(ctx)
	start := c.trace.Begin(query)
	raw, err := c.stdConn.QueryContext(ctx, query, args)
	for c.again(ctx, &err) {
		raw, err = c.stdConn.QueryContext(ctx, query, args)
	}
	if c.replan(ctx, query, err) {
		raw, err = c.stdConn.QueryContext(ctx, query, args)
	}
	err = c.ended(ctx, err)
	if open && errors.Is(err, driver.ErrBadConn) && c.plain {
		err = engine.ErrLostReply
	}
	return c.rows(ctx, call, query, args, start, raw, c.witness.ofCopy(c.unsent(err)))
}

// PrepareContext implements driver.ConnPrepareContext.
func (c *conn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	ctx, _ = engine.Reveal(ctx)
	s, err := c.admit(query)
	if err != nil {
		return nil, err
	}
	c.departs(ctx)
	prepared, err := c.prepare(ctx, query)
	for c.again(ctx, &err) {
		prepared, err = c.prepare(ctx, query)
	}
	err = c.unsent(c.ended(ctx, err))
	c.note(err)
	if err != nil {
		return nil, err
	}
	if raw, named := prepared.(*stdlib.Stmt); named {
		return &stmt{Stmt: raw, conn: c, on: c.stdConn, query: query, script: s}, nil
	}
	return prepared, nil
}

// note takes over how the connection stands after a statement, and the first
// error since the transaction or the savepoint began that did harm. One that the
// server did not see, such as an argument that cannot be encoded, leaves the
// transaction whole, and must not hide the one that ends it.
func (c *conn) note(err error) {
	c.silence.heard()
	c.silence = nil
	pg := c.stdConn.Conn().PgConn()
	status, closed := c.wire.status(pg.TxStatus()), pg.IsClosed()
	if c.bound && c.open != nil && status == 'I' && !closed && !pg.IsBusy() {
		c.witness.ended()
	}
	if (c.misplaced() || isStalePlan(err)) && !c.stale() {
		c.connector.expire() // the others will hear it too late
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status, c.closed = status, closed
	if err != nil && err != io.EOF && c.first == nil && (closed || status == 'E') {
		c.first = err
	}
}

func (c *conn) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.first, c.refused = nil, nil
}
