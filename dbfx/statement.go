package dbfx

import (
	"context"
	"database/sql"
	"time"

	"github.com/sergas/dbkit/dbfx/internal/engine"
)

// opened is a result that was given to fn and may be open when it returns.
type opened struct {
	call *engine.Call
	rows *sql.Rows
	row  *sql.Row
}

// exec runs a statement of the scope s, under a context that enter returned.
func (tx *transaction) exec(call *engine.Call, query string, args []any) (sql.Result, error) {
	defer call.End()
	return tx.on().ExecContext(tx.seen(call), query, args...)
}

// own runs a statement of dbfx's.
func (tx *transaction) own(ctx context.Context, query string) error {
	if !tx.use() {
		return ErrSessionDone
	}
	defer tx.used()
	_, err := tx.exec(engine.NewCall(ctx, nil), query, nil)
	return err
}

// query runs a query and remembers its rows.
func (tx *transaction) query(call *engine.Call, query string, args []any) (*sql.Rows, error) {
	rows, err := tx.on().QueryContext(tx.seen(call), query, args...)
	if err != nil {
		call.End()
		return nil, err
	}
	tx.remember(opened{call: call, rows: rows})
	return rows, nil
}

// queryRow runs a query for one row, and remembers it: it may never be scanned.
func (tx *transaction) queryRow(call *engine.Call, query string, args []any) *sql.Row {
	row := tx.on().QueryRowContext(tx.seen(call), query, args...)
	if row.Err() != nil {
		call.End()
		return row
	}
	tx.remember(opened{call: call, row: row})
	return row
}

// on is where the statements run.
func (tx *transaction) on() DBTX {
	if f, ok := tx.link.(*foreign); ok {
		return f.tx
	}
	return tx.conn
}

// seen is the context under which database/sql runs the statement. A driver that
// is not dbfx's knows no Call.
func (tx *transaction) seen(call *engine.Call) context.Context {
	if _, ok := tx.link.(*foreign); ok {
		ctx, _ := engine.Reveal(call)
		return ctx
	}
	return call
}

// remember keeps a result until it was closed. The list is as long as results
// were open at once, or the driver does not tell.
func (tx *transaction) remember(o opened) {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	n := len(tx.opened)
	for n > 0 && tx.opened[n-1].call.Ended() {
		n--
	}
	if n == cap(tx.opened) { // those below an open one, before the list grows
		kept := tx.opened[:0]
		for _, o := range tx.opened[:n] {
			if !o.call.Ended() {
				kept = append(kept, o)
			}
		}
		n = len(kept)
	}
	tx.opened = append(tx.opened[:n], o)
}

// closeGrace is how long the close of a result may take before its context ends.
// That end makes pgx close the connection, so it is not the first choice.
const closeGrace = time.Second

// closeOpened closes the results that fn left open: the connection could not go
// back while one is.
func (tx *transaction) closeOpened() {
	tx.mu.Lock()
	list := tx.opened
	tx.opened = nil
	tx.mu.Unlock()
	if len(list) == 0 || len(list) == 1 && list[0].call.Ended() {
		return
	}
	timer := time.AfterFunc(closeGrace, func() { tx.cancel(errSessionEnd) })
	defer timer.Stop()
	_, foreign := tx.link.(*foreign)
	for _, o := range list {
		if o.call.Ended() {
			continue
		}
		o.call.Cut(ErrSessionDone)
		if o.rows != nil {
			if !foreign {
				_ = o.rows.Next() // it fails: who reads on learns that these were not all
			}
			_ = o.rows.Close()
		} else {
			_ = o.row.Scan() // it fails for want of a destination, and closes the rows
		}
		o.call.End()
	}
}

// closeAll closes all that fn left open.
func (tx *transaction) closeAll() {
	tx.closeOpened()
	tx.freeSQLTx()
}

// asSQLTx makes the *sql.Tx of the session when it is first asked for: it costs a
// goroutine for each query.
func (tx *transaction) asSQLTx() (*sql.Tx, error) {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	if tx.sqlTx == nil {
		made, err := tx.conn.BeginTx(context.WithoutCancel(tx.ctx), &sql.TxOptions{ReadOnly: tx.readOnly})
		if err != nil {
			return nil, err
		}
		tx.sqlTx = made
	}
	return tx.sqlTx, nil
}

// freeSQLTx ends the *sql.Tx and closes what was opened through it, without an
// effect on the transaction.
func (tx *transaction) freeSQLTx() {
	tx.mu.Lock()
	sqlTx := tx.sqlTx
	tx.mu.Unlock()
	if _, ok := tx.link.(*foreign); ok || sqlTx == nil {
		return
	}
	tx.link.Free()
	timer := time.AfterFunc(closeGrace, func() { tx.cancel(errSessionEnd) })
	defer timer.Stop()
	_ = sqlTx.Rollback() // waits for its statements
}

// doneTx returns a *sql.Tx that has ended.
func doneTx() *sql.Tx {
	db := sql.OpenDB(deadConnector{})
	defer func() { _ = db.Close() }()
	tx, err := db.Begin()
	if err != nil {
		panic(err) // deadConnector never fails
	}
	_ = tx.Rollback()
	return tx
}
