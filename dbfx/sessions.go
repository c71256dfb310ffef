package dbfx

import (
	"context"
	"database/sql"
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
	drain *drain
	log   *zap.Logger
	watch observers

	renew func()

	poolTimeout   time.Duration
	commitTimeout time.Duration
}

// pool is a handle and the queue in front of it.
type pool struct {
	db   *sql.DB
	gate *engine.Gate
}

// rollbackTimeout bounds every clean-up: ROLLBACK, and the way back to a
// savepoint. What takes longer loses its connection.
const rollbackTimeout = 5 * time.Second

// DBTX is what *sql.DB, *sql.Conn, *sql.Tx and *Session have in common, and what
// sqlc, scany, bun and squirrel take.
type DBTX interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	PrepareContext(ctx context.Context, query string) (*sql.Stmt, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

var (
	_ DBTX = (*sql.DB)(nil)
	_ DBTX = (*Session)(nil)
)

// Run runs fn in one read-write transaction: it commits when fn returns nil, and
// rolls back when fn returns an error, panics or calls runtime.Goexit. A panic
// goes on unchanged. Inside fn of the same Sessions, found through ctx, Run opens
// a savepoint instead.
//
// ctx bounds the wait for a connection, BEGIN and fn. The context of fn carries
// the session and is cancelled when fn returns. If ctx is done when fn returns
// nil, the session is rolled back and context.Cause(ctx) returned. Once COMMIT
// is sent ctx is no longer asked; COMMIT_TIMEOUT bounds it.
//
// A failed statement dooms the scope on both engines, as PostgreSQL does: to try
// and go on, nest a Run. The error of fn comes back unchanged.
//
// Errors: ErrClosed, *CheckoutTimeoutError, *CommitUnknownError,
// *RolledBackError, ErrSessionBusy, ErrSessionDone, ErrReadOnly, ErrDurable,
// ErrOptions, the driver's, or fn's.
func (s *Sessions) Run(ctx context.Context, fn func(ctx context.Context, tx *Session) error, opts ...SessionOption) error {
	return s.dispatch(ctx, fn, opts, false)
}

// View is Run in a transaction that the database keeps from writing: one snapshot,
// taken at the first statement on SQLite and, from Isolation(RepeatableRead) on,
// on PostgreSQL. Where there are replicas it reads from one; see Primary and
// WithPrimary. It ends with ROLLBACK, so its outcome is never unknown, and its
// AfterCommit hooks do not run. Run inside View is ErrReadOnly.
func (s *Sessions) View(ctx context.Context, fn func(ctx context.Context, tx *Session) error, opts ...SessionOption) error {
	return s.dispatch(ctx, fn, opts, true)
}

// RunValue is Run with a result: fn's value if it was committed, else the zero
// value.
func RunValue[T any](ctx context.Context, s *Sessions, fn func(context.Context, *Session) (T, error), opts ...SessionOption) (T, error) {
	return valueOf(ctx, s.Run, fn, opts)
}

// ViewValue is View with a result.
func ViewValue[T any](ctx context.Context, s *Sessions, fn func(context.Context, *Session) (T, error), opts ...SessionOption) (T, error) {
	return valueOf(ctx, s.View, fn, opts)
}

type runner func(context.Context, func(context.Context, *Session) error, ...SessionOption) error

func valueOf[T any](ctx context.Context, run runner, fn func(context.Context, *Session) (T, error), opts []SessionOption) (T, error) {
	var value, zero T
	if fn == nil {
		return zero, errNilFunc
	}
	err := run(ctx, func(ctx context.Context, tx *Session) (err error) {
		value, err = fn(ctx, tx)
		return err
	}, opts...)
	if err != nil {
		return zero, err
	}
	return value, nil
}

func (s *Sessions) dispatch(ctx context.Context, fn func(context.Context, *Session) error, opts []SessionOption, readOnly bool) error {
	if fn == nil {
		return errNilFunc
	}
	o, err := collect(opts)
	if err != nil {
		return err
	}
	if outer := s.FromContext(ctx); outer != nil {
		return outer.nest(ctx, fn, o, readOnly)
	}
	return s.runOuter(ctx, fn, o, readOnly)
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
