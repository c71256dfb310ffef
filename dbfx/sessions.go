package dbfx

import (
	"context"
	"database/sql"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/sergas/dbkit/dbfx/internal/engine"
)

// Sessions runs units of work on one database. It is safe for concurrent use.
//
// What Run returns is what became of the data: nil means committed,
// ErrCommitUnknown means not known, any other error means not committed.
type Sessions struct {
	name   string
	engine engine.Engine
	write  pool
	read   pool // View's; the same as write where the engine has one handle
	lagging
	active    *active
	log       *zap.Logger
	observers *observers

	meter *meter
	slow  *slow
	alarm func() // the database may be down

	refused *atomic.Pointer[refusal] // of writes; nil while there is none

	discards limiter // of the connections that could not roll back

	renew func()

	poolTimeout   time.Duration
	commitTimeout time.Duration
	deadlines     deadlines // of the waits for a connection, and of the ends
}

// pool is a handle and the queue in front of it.
type pool struct {
	db      *sql.DB
	gate    *engine.Gate
	role    Role
	replica bool // a copy that may hang while the primary lives
}

// DBTX is what *sql.DB, *sql.Conn, *sql.Tx and *Session have in common, and what
// sqlc, scany, bun and squirrel take.
type DBTX interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	PrepareContext(ctx context.Context, query string) (*sql.Stmt, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// sessionKey finds the session of one Sessions in a context, so that two
// databases never mix.
type sessionKey struct{ *Sessions }

// FromContext returns the session that ctx carries, or nil. It may have ended.
func (s *Sessions) FromContext(ctx context.Context) *Session {
	t, _ := ctx.Value(sessionKey{s}).(*Session)
	return t
}

// Detach returns ctx without its session, for a session of its own inside
// another one. It takes a second connection; on SQLite a Run inside a Run waits
// for the write lock that the outer one holds.
func (s *Sessions) Detach(ctx context.Context) context.Context {
	if s.FromContext(ctx) == nil {
		return ctx
	}
	return context.WithValue(ctx, sessionKey{s}, (*Session)(nil))
}

// DB returns the session that ctx carries, else the pool: for a repository that
// works inside and outside of sessions. A session that has ended is returned
// too, and answers ErrSessionDone: its statements never reach the pool.
func (s *Sessions) DB(ctx context.Context) DBTX {
	if t := s.FromContext(ctx); t != nil {
		return t
	}
	return s.write.db
}

// Renew replaces every connection of the database, without cutting one in use:
// idle ones are closed now, the others when they come back. A database in memory
// keeps its one connection, and a replaced *sql.DB its own.
func (s *Sessions) Renew() { s.renew() }

var (
	_ DBTX = (*sql.DB)(nil)
	_ DBTX = (*Session)(nil)
)
