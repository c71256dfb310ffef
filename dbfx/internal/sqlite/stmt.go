package sqlite

import (
	"context"
	"database/sql/driver"
	"io"
	"time"
)

// rawStmt is the driver's prepared statement.
type rawStmt interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

// stmt is a prepared statement that keeps the rules of its connection.
type stmt struct {
	rawStmt
	conn  *conn
	query string
}

// ExecContext implements driver.StmtExecContext.
func (s *stmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	leave, err := s.conn.enter(ctx, s.query)
	if err != nil {
		return nil, err
	}
	defer leave()
	start := s.conn.engine.opt.Trace.Begin()
	result, err := s.rawStmt.ExecContext(ctx, args)
	if result == nil {
		result = driver.RowsAffected(0)
	}
	s.conn.state.note(err)
	s.conn.engine.opt.Trace.Exec(ctx, s.query, args, start, result, err)
	if err != nil {
		return nil, err
	}
	return result, nil
}

// QueryContext implements driver.StmtQueryContext.
func (s *stmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	leave, err := s.conn.enter(ctx, s.query)
	if err != nil {
		return nil, err
	}
	start := s.conn.engine.opt.Trace.Begin()
	raw, err := s.rawStmt.QueryContext(ctx, args)
	return s.conn.rows(ctx, s.query, args, start, leave, raw, err)
}

// rawRows is the driver's result.
type rawRows interface {
	driver.Rows
	driver.RowsColumnTypeDatabaseTypeName
	driver.RowsColumnTypeLength
	driver.RowsColumnTypeNullable
	driver.RowsColumnTypePrecisionScale
	driver.RowsColumnTypeScanType
}

// rows is a result that reports the errors of its rows and frees the write gate
// when it is closed.
type rows struct {
	rawRows
	conn  *conn
	ctx   context.Context
	query string
	args  []driver.NamedValue
	start time.Time
	leave func()
	count int64
	err   error
}

// rows wraps what a query gave.
func (c *conn) rows(ctx context.Context, query string, args []driver.NamedValue, start time.Time, leave func(),
	raw driver.Rows, err error,
) (driver.Rows, error) {
	if err != nil {
		leave()
		c.state.note(err)
		c.engine.opt.Trace.End(ctx, query, args, start, -1, err)
		return nil, err
	}
	return &rows{
		rawRows: raw.(rawRows), conn: c, ctx: ctx, query: query, args: args, start: start, leave: leave,
	}, nil
}

// Next implements driver.Rows.
func (r *rows) Next(dest []driver.Value) error {
	err := r.rawRows.Next(dest)
	if err == nil {
		r.count++
	} else if err != io.EOF {
		r.err = err
		r.conn.state.note(err)
	}
	return err
}

// Close implements driver.Rows.
func (r *rows) Close() error {
	err := r.rawRows.Close()
	r.conn.state.note(err)
	r.leave()
	if r.err == nil {
		r.err = err
	}
	r.conn.engine.opt.Trace.End(r.ctx, r.query, r.args, r.start, r.count, r.err)
	return err
}
