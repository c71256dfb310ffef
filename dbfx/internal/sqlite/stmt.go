package sqlite

import (
	"context"
	"database/sql/driver"
)

// rawStmt is the driver's prepared statement.
type rawStmt interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

// stmt is a prepared statement as database/sql holds it: a text. The statements
// themselves are kept by the real connections.
type stmt struct {
	conn *conn
	plan *plan
}

var _ rawStmt = (*stmt)(nil)

// ExecContext implements driver.StmtExecContext.
func (s *stmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	return s.conn.exec(ctx, s.plan, args, true)
}

// QueryContext implements driver.StmtQueryContext.
func (s *stmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	return s.conn.query(ctx, s.plan, args, true)
}

// NumInput implements driver.Stmt: arguments are counted when they are bound.
func (s *stmt) NumInput() int { return -1 }

// Close implements driver.Stmt. It may be called while the connection is free, and
// touches nothing.
func (s *stmt) Close() error { return nil }

// Exec implements driver.Stmt.
func (s *stmt) Exec(args []driver.Value) (driver.Result, error) {
	return s.ExecContext(context.Background(), named(args))
}

// Query implements driver.Stmt.
func (s *stmt) Query(args []driver.Value) (driver.Rows, error) {
	return s.QueryContext(context.Background(), named(args))
}

func named(args []driver.Value) []driver.NamedValue {
	list := make([]driver.NamedValue, len(args))
	for i, value := range args {
		list[i] = driver.NamedValue{Ordinal: i + 1, Value: value}
	}
	return list
}
