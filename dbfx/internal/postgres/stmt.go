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
	on     *stdConn // where it was prepared; nil where it must be again
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
	if s.conn.replan(ctx, s.query, err) {
		s.on = nil
		result, err = s.exec(ctx, args)
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
	if s.conn.replan(ctx, s.query, err) {
		s.on = nil
		raw, err = s.rows(ctx, args)
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

// follow prepares the statement once more where its connection was replaced, or its
// plan is outdated.
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
