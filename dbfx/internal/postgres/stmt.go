package postgres

import (
	"context"
	"database/sql/driver"

	"github.com/jackc/pgx/v5/stdlib"

	"github.com/sergas/dbkit/dbfx/internal/engine"
)

// stmt is a prepared statement that keeps the rules of its connection.
type stmt struct {
	*stdlib.Stmt
	conn   *conn
	on     *stdConn // where it was prepared
	query  string
	script script
}

// ExecContext implements driver.StmtExecContext.
func (s *stmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	ctx, call := s.conn.trace.Reveal(ctx)
	defer call.End()
	if err := s.allow(); err != nil {
		return nil, err
	}
	s.conn.departs(ctx)
	start := s.conn.trace.Begin(s.query)
	result, err := s.exec(ctx, args)
	for s.conn.again(ctx, &err) {
		result, err = s.exec(ctx, args)
	}
	if s.again(ctx, err) {
		result, err = s.Stmt.ExecContext(ctx, args)
	}
	err = s.outcome(ctx, err)
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
	ctx, call := s.conn.trace.Reveal(ctx)
	defer call.Returned()
	if err := s.allow(); err != nil {
		call.End()
		return nil, err
	}
	s.conn.departs(ctx)
	start := s.conn.trace.Begin(s.query)
	raw, err := s.rows(ctx, args)
	for s.conn.again(ctx, &err) {
		raw, err = s.rows(ctx, args)
	}
	if s.again(ctx, err) {
		raw, err = s.Stmt.QueryContext(ctx, args)
	}
	return s.conn.rows(ctx, call, s.query, args, start, raw, s.outcome(ctx, err))
}

// outcome is err as it is told.
func (s *stmt) outcome(ctx context.Context, err error) error {
	return s.conn.witness.ofCopy(s.conn.unsent(s.conn.ended(ctx, err)))
}

func (s *stmt) exec(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	if err := s.follow(ctx); err != nil {
		return nil, err
	}
	return s.Stmt.ExecContext(ctx, args)
}

func (s *stmt) rows(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	if err := s.follow(ctx); err != nil {
		return nil, err
	}
	return s.Stmt.QueryContext(ctx, args)
}

// follow prepares the statement once more where its connection was replaced.
func (s *stmt) follow(ctx context.Context) error {
	if s.on == s.conn.stdConn {
		return nil
	}
	raw, err := s.conn.stdConn.PrepareContext(ctx, s.query)
	if err == nil {
		s.Stmt, s.on = raw.(*stdlib.Stmt), s.conn.stdConn
	}
	return err
}

// allow keeps the rules of a session for a statement that may have been prepared
// outside of it.
func (s *stmt) allow() error {
	if s.conn.stdConn.Conn().PgConn().IsBusy() {
		return engine.ErrRowsOpen
	}
	return s.conn.allow(s.query, s.script, engine.PostgreSQL)
}

// again prepares the statement anew where a change of the schema has made it
// useless, and reports whether to run it once more.
func (s *stmt) again(ctx context.Context, err error) bool {
	if !s.conn.repeats(err) {
		return false
	}
	if s.conn.stdConn.Conn().Deallocate(ctx, s.query) != nil {
		return false
	}
	raw, err := s.conn.stdConn.PrepareContext(ctx, s.query)
	if err != nil {
		return false
	}
	s.Stmt = raw.(*stdlib.Stmt)
	return true
}

// repeats reports whether err is of a cached plan that a change of the schema has
// made useless, outside of a transaction: nothing has run, and a second try plans
// anew. The other connections have the same plan, and are replaced.
func (c *conn) repeats(err error) bool {
	if !isStalePlan(err) || c.stdConn.Conn().PgConn().TxStatus() != 'I' {
		return false
	}
	if !c.stale() {
		c.connector.expire()
	}
	return true
}
