package postgres

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
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
	connector *connector
	trace     engine.Tracer

	born, deadline time.Time // deadline is zero where no age ends it
	returned       time.Time // to the pool
	socket         socket
	reused         bool // it was idle before its present use
	idling         bool // it counts as idle
	passOn         bool // Close passes it on to a request that waits
	standby        bool // it was dialled as one

	bound bool   // a session has it
	open  pgx.Tx // the session's transaction, nil before and after it

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
	ctx, _ = engine.Reveal(ctx)
	if err := c.control(query); err != nil {
		return nil, err
	}
	open := !c.stdConn.Conn().IsClosed()
	start := c.trace.Begin(query)
	result, err := c.stdConn.ExecContext(ctx, query, args)
	if open && errors.Is(err, driver.ErrBadConn) && (len(args) == 0 || c.simple()) {
		err = engine.ErrLostReply
	}
	err = c.unsent(err)
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

// control refuses COMMIT and its like inside a session, and what would run after
// the end of its transaction.
func (c *conn) control(query string) error {
	if !c.bound {
		return nil
	}
	if c.open == nil {
		return &engine.EndedError{First: c.State().First}
	}
	rules := engine.PostgreSQL
	if c.stdConn.Conn().PgConn().ParameterStatus("standard_conforming_strings") == "off" {
		rules = engine.PostgreSQLBackslash
	}
	err := rules.CheckControl(query)
	if err != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.refused = err // whoever asked for a ROLLBACK must not get a commit
	}
	return err
}

// simple reports whether statements with arguments use the simple protocol too.
func (c *conn) simple() bool {
	return c.stdConn.Conn().Config().DefaultQueryExecMode == pgx.QueryExecModeSimpleProtocol
}

// QueryContext implements driver.QueryerContext.
func (c *conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	ctx, call := engine.Reveal(ctx)
	if err := c.control(query); err != nil {
		return nil, err
	}
	open := !c.stdConn.Conn().IsClosed()
	start := c.trace.Begin(query)
	raw, err := c.stdConn.QueryContext(ctx, query, args)
	if open && errors.Is(err, driver.ErrBadConn) && c.simple() {
		err = engine.ErrLostReply
	}
	return c.rows(ctx, call, query, args, start, raw, c.unsent(err))
}

// PrepareContext implements driver.ConnPrepareContext.
func (c *conn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	ctx, _ = engine.Reveal(ctx)
	if err := c.control(query); err != nil {
		return nil, err
	}
	raw, err := c.stdConn.PrepareContext(ctx, query)
	err = c.unsent(err)
	c.note(err)
	if err != nil {
		return nil, err
	}
	return &stmt{Stmt: raw.(*stdlib.Stmt), conn: c, query: query}, nil
}

// BeginTx implements driver.ConnBeginTx.
func (c *conn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	if c.bound {
		return c.adopt()
	}
	query := "BEGIN"
	if opts.ReadOnly {
		query = "BEGIN READ ONLY"
	}
	start := c.trace.Begin(query)
	raw, err := c.stdConn.BeginTx(ctx, opts)
	if err == nil && !c.readsOnly(opts) && c.misplaced() {
		_ = raw.Rollback() // nothing has run: another connection will do
		err = errRole
	}
	err = c.replaceable(err)
	c.forget()
	c.note(err)
	c.trace.End(ctx, query, nil, start, 0, err)
	if err != nil {
		return nil, err
	}
	return &tx{raw: raw, conn: c, ctx: ctx}, nil
}

// tx is a transaction that tells its end.
type tx struct {
	raw  driver.Tx
	conn *conn
	ctx  context.Context // of BeginTx, for the trace
}

// Commit implements driver.Tx.
func (t *tx) Commit() error {
	start := t.conn.trace.Begin("COMMIT")
	err := t.raw.Commit()
	t.conn.trace.End(t.ctx, "COMMIT", nil, start, 0, err)
	return err
}

// Rollback implements driver.Tx.
func (t *tx) Rollback() error {
	start := t.conn.trace.Begin("ROLLBACK")
	err := t.raw.Rollback()
	t.conn.trace.End(t.ctx, "ROLLBACK", nil, start, 0, err)
	return err
}

// note takes over how the connection stands after a statement, and the first
// error since the transaction or the savepoint began.
func (c *conn) note(err error) {
	pg := c.stdConn.Conn().PgConn()
	status, closed := pg.TxStatus(), pg.IsClosed()
	if c.misplaced() && !c.stale() {
		c.connector.expire() // the others are to the same server, and will hear it too late
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status, c.closed = status, closed
	if err != nil && err != io.EOF && c.first == nil {
		c.first = err
	}
}

func (c *conn) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.first, c.refused = nil, nil
}

// State implements engine.Link. An error that the server did not see, such as
// an argument that cannot be encoded, leaves the transaction whole.
func (c *conn) State() engine.State {
	c.mu.Lock()
	defer c.mu.Unlock()
	state := engine.State{Ended: c.closed || c.status == 'I', Left: !c.closed && c.status == 'I', Finished: c.finished, First: c.refused}
	if c.finished {
		return state
	}
	if state.Ended || c.status == 'E' {
		if c.first != nil {
			state.First = c.first
		}
		if state.First == nil {
			state.First = pgx.ErrTxCommitRollback
		}
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

// stmt is a prepared statement that keeps the rules of its connection.
type stmt struct {
	*stdlib.Stmt
	conn  *conn
	query string
}

// ExecContext implements driver.StmtExecContext.
func (s *stmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	start := s.conn.trace.Begin(s.query)
	result, err := s.Stmt.ExecContext(ctx, args)
	if result == nil {
		result = driver.RowsAffected(0)
	}
	s.conn.note(err)
	s.conn.trace.Exec(ctx, s.query, args, start, result, err)
	if err != nil {
		return nil, err
	}
	return result, nil
}

// QueryContext implements driver.StmtQueryContext.
func (s *stmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	start := s.conn.trace.Begin(s.query)
	raw, err := s.Stmt.QueryContext(ctx, args)
	return s.conn.rows(ctx, nil, s.query, args, start, raw, err)
}

// rows is a result that reports the errors of its rows.
type rows struct {
	*stdlib.Rows
	conn  *conn
	ctx   context.Context
	call  *engine.Call // nil where the statement is not a session's
	query string
	args  []driver.NamedValue
	start time.Time
	count int64
	err   error
}

// rows wraps what a query gave.
func (c *conn) rows(ctx context.Context, call *engine.Call, query string, args []driver.NamedValue, start time.Time,
	raw driver.Rows, err error,
) (driver.Rows, error) {
	c.note(err)
	if err != nil {
		c.trace.End(ctx, query, args, start, -1, err)
		return nil, err
	}
	return &rows{Rows: raw.(*stdlib.Rows), conn: c, ctx: ctx, call: call, query: query, args: args, start: start}, nil
}

// Next implements driver.Rows.
func (r *rows) Next(dest []driver.Value) error {
	err := r.Rows.Next(dest)
	if err == nil {
		r.count++
	} else if err != io.EOF {
		r.err = err
	}
	return err
}

// Close implements driver.Rows.
func (r *rows) Close() error {
	err := r.Rows.Close()
	if r.err == nil {
		r.err = err
	}
	r.call.End()
	r.conn.note(r.err)
	r.conn.trace.End(r.ctx, r.query, r.args, r.start, r.count, r.err)
	return err
}
