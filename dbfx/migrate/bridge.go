package migrate

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
)

// bridge gives goose a *sql.DB that is the one connection of an attempt. So dbfx
// knows the connection that goose runs on, what it was readied for, and every
// statement that goes by; goose tells none of that.
//
// It stands on the driver's connection inside sql.Conn.Raw, and no longer than
// that.
type bridge struct {
	step *step
	raw  link
}

// Connect implements driver.Connector. goose asks for a second connection while
// it has the first, to write the version of a Go migration that runs without a
// transaction, and uses one at a time.
func (b *bridge) Connect(context.Context) (driver.Conn, error) { return &bridgeConn{b}, nil }

// Driver implements driver.Connector.
func (b *bridge) Driver() driver.Driver { return bridgeDriver{} }

type bridgeDriver struct{}

// Open implements driver.Driver.
func (bridgeDriver) Open(string) (driver.Conn, error) {
	return nil, errors.New("dbfx: migrate: not opened by name")
}

// bridgeConn is the driver's connection as goose's *sql.DB has it.
type bridgeConn struct{ *bridge }

var (
	_ driver.ConnBeginTx       = (*bridgeConn)(nil)
	_ driver.ExecerContext     = (*bridgeConn)(nil)
	_ driver.QueryerContext    = (*bridgeConn)(nil)
	_ driver.NamedValueChecker = (*bridgeConn)(nil)
)

// Prepare implements driver.Conn.
func (c *bridgeConn) Prepare(query string) (driver.Stmt, error) {
	return c.PrepareContext(context.Background(), query)
}

// PrepareContext implements driver.ConnPrepareContext.
func (c *bridgeConn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	if err := c.step.prepared(query); err != nil {
		return nil, err
	}
	return c.raw.conn.(driver.ConnPrepareContext).PrepareContext(ctx, query)
}

// Close implements driver.Conn. The connection is not goose's to close.
func (c *bridgeConn) Close() error { return nil }

// Begin implements driver.Conn.
func (c *bridgeConn) Begin() (driver.Tx, error) {
	return c.BeginTx(context.Background(), driver.TxOptions{})
}

// BeginTx implements driver.ConnBeginTx. The transaction does not end with ctx:
// a COMMIT that is cut says 'canceled' of what is committed. Its statements do,
// and database/sql then rolls it back.
func (c *bridgeConn) BeginTx(ctx context.Context, _ driver.TxOptions) (driver.Tx, error) {
	inner, cancel := context.WithCancel(context.WithoutCancel(ctx))
	tx, err := c.raw.conn.(driver.ConnBeginTx).BeginTx(inner, c.step.m.rules.txOptions())
	if err != nil {
		cancel()
		return nil, c.step.fail(err)
	}
	if err := c.step.m.rules.begun(ctx, c.raw, c.step); err != nil {
		_ = tx.Rollback()
		cancel()
		return nil, c.step.fail(err)
	}
	return &bridgeTx{raw: tx, step: c.step, cancel: cancel}, nil
}

// ExecContext implements driver.ExecerContext.
func (c *bridgeConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	exec := func() (driver.Result, error) {
		return c.raw.conn.(driver.ExecerContext).ExecContext(ctx, query, args)
	}
	if ctx.Value(ownKey{}) != nil {
		return exec()
	}
	return c.step.exec(ctx, c.raw, query, exec)
}

// QueryContext implements driver.QueryerContext.
func (c *bridgeConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if err := c.step.prepared(query); err != nil {
		return nil, err
	}
	return c.raw.conn.(driver.QueryerContext).QueryContext(ctx, query, args)
}

// CheckNamedValue implements driver.NamedValueChecker.
func (c *bridgeConn) CheckNamedValue(v *driver.NamedValue) error {
	if checker, ok := c.raw.conn.(driver.NamedValueChecker); ok {
		return checker.CheckNamedValue(v)
	}
	return driver.ErrSkip
}

// bridgeTx bounds COMMIT, and keeps its error.
type bridgeTx struct {
	raw    driver.Tx
	step   *step
	cancel context.CancelFunc
}

// Commit implements driver.Tx.
func (t *bridgeTx) Commit() error {
	defer t.cancel()
	err := t.step.m.commit(t.raw.Commit, t.cancel)
	if err != nil {
		err = t.step.fail(err)
	}
	return err
}

// Rollback implements driver.Tx.
func (t *bridgeTx) Rollback() error {
	defer t.cancel()
	return t.raw.Rollback()
}

// ownKey marks the context of our own statements, which are no part of a file.
type ownKey struct{}

func own(ctx context.Context) context.Context { return context.WithValue(ctx, ownKey{}, true) }

// link is the driver's connection with what an attempt asks of it.
type link struct{ conn driver.Conn }

// newLink refuses a connection of a driver that lacks what every driver of today
// has.
func newLink(conn any) (link, error) {
	type full interface {
		driver.Conn
		driver.ConnBeginTx
		driver.ConnPrepareContext
		driver.ExecerContext
		driver.QueryerContext
	}
	c, ok := conn.(full)
	if !ok {
		return link{}, fmt.Errorf("the driver's connection %T lacks context methods", conn)
	}
	return link{c}, nil
}

func (l link) exec(ctx context.Context, query string, args ...any) error {
	_, err := l.conn.(driver.ExecerContext).ExecContext(ctx, query, named(args))
	return err
}

// query returns all rows.
func (l link) query(ctx context.Context, query string, args ...any) ([][]driver.Value, error) {
	rows, err := l.conn.(driver.QueryerContext).QueryContext(ctx, query, named(args))
	if err != nil {
		return nil, err
	}
	list, err := readAll(rows)
	// Once: a driver's rows need not bear a second Close, and modernc's do not.
	if closed := rows.Close(); err == nil {
		err = closed
	}
	return list, err
}

func readAll(rows driver.Rows) ([][]driver.Value, error) {
	var list [][]driver.Value
	for {
		row := make([]driver.Value, len(rows.Columns()))
		switch err := rows.Next(row); {
		case errors.Is(err, io.EOF):
			return list, nil
		case err != nil:
			return nil, err
		}
		for i, v := range row {
			if b, ok := v.([]byte); ok { // the driver's until the next row
				row[i] = string(b)
			}
		}
		list = append(list, row)
	}
}

func named(args []any) []driver.NamedValue {
	list := make([]driver.NamedValue, len(args))
	for i, a := range args {
		list[i] = driver.NamedValue{Ordinal: i + 1, Value: a}
	}
	return list
}
