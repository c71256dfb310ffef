package postgres

import (
	"context"
	"database/sql/driver"
	"errors"
)

// unnamed is what a prepared statement is behind a pooler, where its next use may be
// on another server: it keeps its text, and each use is that of a statement that was
// not prepared. With names on the server 82 of 160 uses failed behind PgBouncer 1.18.
type unnamed struct {
	conn  *conn
	query string
	args  int // how many it takes, -1 if that is not known
}

var (
	_ driver.Stmt             = (*unnamed)(nil)
	_ driver.StmtExecContext  = (*unnamed)(nil)
	_ driver.StmtQueryContext = (*unnamed)(nil)
)

// prepare has the server read query, so that what is wrong with it is said now.
func (c *conn) prepare(ctx context.Context, query string) (driver.Stmt, error) {
	if !c.connector.opt.Pooler {
		return c.stdConn.PrepareContext(ctx, query)
	}
	s := &unnamed{conn: c, query: query, args: -1}
	if c.plain {
		return s, nil // the simple protocol cannot ask
	}
	if c.stdConn.Conn().IsClosed() {
		return nil, driver.ErrBadConn
	}
	described, err := c.stdConn.Conn().Prepare(ctx, "", query)
	if err != nil {
		return nil, err
	}
	s.args = len(described.ParamOIDs)
	return s, nil
}

// Close implements driver.Stmt.
func (s *unnamed) Close() error { return nil }

// NumInput implements driver.Stmt.
func (s *unnamed) NumInput() int { return s.args }

// Exec implements driver.Stmt. database/sql uses ExecContext.
func (s *unnamed) Exec([]driver.Value) (driver.Result, error) { return nil, errors.ErrUnsupported }

// Query implements driver.Stmt. database/sql uses QueryContext.
func (s *unnamed) Query([]driver.Value) (driver.Rows, error) { return nil, errors.ErrUnsupported }

// ExecContext implements driver.StmtExecContext.
func (s *unnamed) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	return s.conn.ExecContext(ctx, s.query, args)
}

// QueryContext implements driver.StmtQueryContext.
func (s *unnamed) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	return s.conn.QueryContext(ctx, s.query, args)
}
