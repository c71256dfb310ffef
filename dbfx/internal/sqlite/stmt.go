package sqlite

import (
	"context"
	"database/sql/driver"
	"io"
	"reflect"
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
	call, err := s.conn.enter(ctx, s.query, args, false)
	if err != nil {
		return nil, err
	}
	return s.conn.exec(ctx, args, call, s.rawStmt)
}

// QueryContext implements driver.StmtQueryContext.
func (s *stmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	call, err := s.conn.enter(ctx, s.query, args, false)
	if err != nil {
		return nil, err
	}
	return s.conn.query(ctx, args, call, s.rawStmt)
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

// rows is a result that reports the errors of its rows, ends with its context,
// and gives back the write gate and the statement when it is closed.
type rows struct {
	rawRows
	conn  *conn
	ctx   context.Context
	call  call
	args  []driver.NamedValue
	start time.Time
	watch *watch
	kinds []kind
	count int64
	err   error
}

// Next implements driver.Rows.
func (r *rows) Next(dest []driver.Value) error {
	err := r.rawRows.Next(dest)
	switch err {
	case nil:
		r.count++
		convert(dest, r.kinds)
	case io.EOF:
	default:
		err = because(r.ctx, err)
		r.err = err
	}
	return err
}

// ColumnTypeScanType implements driver.RowsColumnTypeScanType.
func (r *rows) ColumnTypeScanType(i int) reflect.Type { return scanType(r.rawRows, r.kinds, i) }

// Close implements driver.Rows.
func (r *rows) Close() error {
	err := because(r.ctx, r.rawRows.Close())
	if r.err == nil {
		r.err = err
	}
	r.finish(r.err, r.count)
	return err
}

// finish ends the result with err.
func (r *rows) finish(err error, count int64) {
	r.watch.end()
	r.call.end(r.conn, err)
	r.conn.trace.End(r.ctx, r.call.query, r.args, r.start, count, err)
}
