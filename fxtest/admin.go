package fxtest

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// mostAdmins are enough: more wait for each other's checkpoints.
const mostAdmins = 4

// keepAdmins makes the server keep the connections that create and drop databases.
// A new one costs it several times what a copy of a template does.
func (s *server) keepAdmins() {
	s.admins = make(chan *pgx.Conn, mostAdmins)
	for range mostAdmins {
		s.admins <- nil
	}
}

// asAdmin calls fn with a connection of the user who may create databases: one that
// is kept, or one for this call.
func (s *server) asAdmin(ctx context.Context, fn func(*pgx.Conn) error) error {
	if s.admins == nil {
		conn, err := pgx.Connect(ctx, s.admin)
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close(ctx) }()
		return fn(conn)
	}
	var conn *pgx.Conn
	select {
	case conn = <-s.admins:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { s.admins <- conn }()
	if conn != nil && conn.Ping(ctx) != nil { // the server may have been started again
		_ = conn.Close(ctx)
		conn = nil
	}
	if conn == nil {
		var err error
		if conn, err = pgx.Connect(ctx, s.admin); err != nil {
			conn = nil
			return err
		}
	}
	return fn(conn)
}
