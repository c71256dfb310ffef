package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"
	"reflect"
	"slices"
	"time"
)

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
// and gives back what its statement holds when it is closed.
type rows struct {
	rawRows
	call   call
	ctx    context.Context
	args   []driver.NamedValue
	start  time.Time
	watch  *interrupter
	kinds  []kind
	count  int64
	err    error
	closed bool
}

// errCut is the answer to who reads on in a result that its transaction's end has
// closed. database/sql does not ask once it has closed the rows itself.
var errCut = errors.New("the transaction has ended, and this result was not read to its end")

// Next implements driver.Rows.
func (r *rows) Next(dest []driver.Value) error {
	if r.closed {
		return errCut
	}
	if err := r.call.statement.Refused(); err != nil {
		return err
	}
	if !r.watch.step() {
		r.err = r.ctx.Err()
		return r.err
	}
	err := r.rawRows.Next(dest)
	r.watch.rest()
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
	if r.closed {
		return nil
	}
	err := because(r.ctx, r.rawRows.Close())
	if r.err == nil {
		r.err = err
	}
	r.finish(r.err, r.count)
	return err
}

// finish ends the result with err.
func (r *rows) finish(err error, count int64) {
	r.closed = true
	r.watch.end()
	open := r.call.real.results
	if i := slices.Index(open, r); i >= 0 {
		r.call.real.results = slices.Delete(open, i, i+1)
	}
	r.call.end(err)
	r.call.conn.trace.End(r.ctx, r.call.plan.query, r.args, r.start, count, err)
}
