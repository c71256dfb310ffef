package dbfx

import (
	"context"
	"time"
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
// On PostgreSQL BEGIN goes to the server with the first statement, and costs no
// round trip: now() is the time of that statement, and a session that runs none
// sends nothing. A connection that turns out to have died while it idled is
// replaced, and the first statement sent again, as nothing can have been committed;
// what is not undone by ROLLBACK, such as a sequence, may have moved twice.
//
// A failed statement dooms the scope on both engines, as PostgreSQL does: to try
// and go on, nest a Run. The error of fn comes back unchanged, except that an
// unknown commit of another session in it no longer matches ErrCommitUnknown: what
// Run returns speaks of its own transaction.
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
//
// On PostgreSQL it does not wait for the answer to ROLLBACK. What a View may lock, a
// transaction's advisory lock and the tables that it reads, may still be locked for a
// moment when it returns: who asks with NOWAIT or pg_try_advisory_lock may be told so.
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
	}, append(opts[:len(opts):len(opts)], writtenAt(fn))...)
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
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	w := &work{sessions: s, fn: fn, options: o, readOnly: readOnly}
	w.live.start = time.Now()
	if err := s.active.add(w); err != nil {
		return err
	}
	defer s.active.remove(w)
	return w.told(ctx)
}
