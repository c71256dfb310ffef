package postgres

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"
	"time"

	"github.com/jackc/pgx/v5/stdlib"

	"github.com/sergas/dbkit/dbfx/internal/engine"
)

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

	closed bool
	ended  error // why it was closed before its reader did
}

// rows wraps what a query gave.
func (c *conn) rows(ctx context.Context, call *engine.Call, query string, args []driver.NamedValue, start time.Time,
	raw driver.Rows, err error,
) (driver.Rows, error) {
	c.note(err)
	if err != nil {
		c.trace.End(ctx, query, args, start, -1, err)
		call.End()
		return nil, err
	}
	c.current = &rows{Rows: raw.(*stdlib.Rows), conn: c, ctx: ctx, call: call, query: query, args: args, start: start}
	return c.current, nil
}

// Next implements driver.Rows.
func (r *rows) Next(dest []driver.Value) error {
	if r.ended != nil {
		return r.ended
	}
	if err := r.call.Refused(); err != nil {
		return err
	}
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
	err := r.finish()
	r.call.End() // the session closes what has not ended, and database/sql wants that of each
	return err
}

// finish frees the connection, once.
func (r *rows) finish() error {
	if r.closed {
		return nil
	}
	r.closed = true
	if r.conn.current == r {
		r.conn.current = nil
	}
	err := r.Rows.Close()
	if r.err == nil {
		r.err = err
	}
	r.conn.note(r.err)
	if r.query == lag && r.conn.bound {
		r.conn.witness.begin() // it is a part of BEGIN
	}
	r.conn.trace.End(r.ctx, r.query, r.args, r.start, r.count, r.err)
	return err
}

// errScopeEnded is the answer to who goes on reading after the session's scope.
var errScopeEnded = errors.New("the session's scope has ended, and its rows with it")

// EndRows ends the result that the session's scope has left open: the connection
// can do nothing else before. What is left of it is read and thrown away, which
// has a limit.
func (c *conn) EndRows() {
	r := c.current
	if r == nil || r.closed {
		return
	}
	r.ended = errScopeEnded
	line := c.stdConn.Conn().PgConn().Conn()
	_ = line.SetReadDeadline(time.Now().Add(rollbackTimeout))
	_ = r.finish()
	_ = line.SetReadDeadline(time.Time{}) // of a dead line it does not matter
}
