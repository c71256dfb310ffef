package dbfx

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"sync/atomic"
)

// Session is the handle of one scope: a transaction, or a savepoint in one. It
// is valid only during its fn and for one goroutine at a time. It has no Commit
// and no Rollback: returning from fn is both.
type Session struct {
	root     *transaction
	parent   *Session // nil for the outermost scope
	ctx      context.Context
	readOnly bool
	depth    int

	done atomic.Bool
	busy atomic.Bool // a nested scope is open

	mu     sync.Mutex
	hooks  []func(context.Context)
	doomed error // a joined scope failed
}

// ExecContext implements DBTX.
func (t *Session) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	ctx, err := t.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer t.root.leave()
	return t.root.tx.ExecContext(ctx, query, args...)
}

// QueryContext implements DBTX. Close the rows before fn returns.
func (t *Session) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	ctx, err := t.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer t.root.leave()
	return t.root.tx.QueryContext(ctx, query, args...)
}

// QueryRowContext implements DBTX.
func (t *Session) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	ctx, err := t.enter(ctx)
	if err != nil {
		// database/sql hands the error of a finished context to Row.Scan, and
		// there is no other way to make a Row.
		return t.root.tx.QueryRowContext(failedContext{ctx, err}, query, args...)
	}
	defer t.root.leave()
	return t.root.tx.QueryRowContext(ctx, query, args...)
}

// PrepareContext implements DBTX. The statement ends with the transaction.
func (t *Session) PrepareContext(ctx context.Context, query string) (*sql.Stmt, error) {
	ctx, err := t.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer t.root.leave()
	return t.root.tx.PrepareContext(ctx, query)
}

// AfterCommit registers fn to run once the outermost session is committed and
// its connection is back in the pool, in the order of registration. It does not
// run for an attempt or a savepoint that was rolled back, nor when the outcome
// is unknown, nor in View. It is not durable: for what must happen write a row.
// Its context has the values of Run's and no deadline.
func (t *Session) AfterCommit(fn func(ctx context.Context)) {
	if fn == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.hooks = append(t.hooks, fn)
}

// SQLTx returns the transaction for libraries that ask for one. Do not end it:
// its Commit rolls back and the session is reported as rolled back.
func (t *Session) SQLTx() *sql.Tx { return t.root.tx }

// Attempt is 1 on the first run of fn, and counts the retries.
func (t *Session) Attempt() int { return t.root.attempt }

// Name is the session's name by the option Name, "" without one. A nested scope
// has the name of the outermost.
func (t *Session) Name() string { return t.root.options.name }

// enter allows one statement; a nil error must be followed by root.leave. The
// context that it returns ends with the session at the latest.
func (t *Session) enter(ctx context.Context) (context.Context, error) {
	if t.done.Load() {
		return ctx, ErrSessionDone
	}
	if t.busy.Load() {
		return ctx, fmt.Errorf("%w: a nested session is open", ErrSessionBusy)
	}
	if err := t.health(); err != nil {
		return ctx, err
	}
	t.root.running.Add(1)
	if t.root.sessions.FromContext(ctx) != t {
		// A context from elsewhere: a statement that is still running when fn
		// returns must end then.
		merged, cancel := context.WithCancelCause(ctx)
		context.AfterFunc(t.ctx, func() { cancel(context.Cause(t.ctx)) })
		ctx = merged
	}
	return ctx, nil
}

// health says why the scope can no longer be committed, nil if it can.
func (t *Session) health() error {
	t.mu.Lock()
	doomed := t.doomed
	t.mu.Unlock()
	if doomed != nil {
		return &RolledBackError{Err: doomed}
	}
	if state := t.root.link.State(); state.Ended || state.First != nil {
		return &RolledBackError{Err: state.First}
	}
	return nil
}

func (t *Session) doom(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.doomed == nil {
		t.doomed = err
	}
}

// adopt takes the hooks of a nested scope that succeeded.
func (t *Session) adopt(nested *Session) {
	nested.mu.Lock()
	hooks := nested.hooks
	nested.mu.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.hooks = append(t.hooks, hooks...)
}

// failedContext is done, with an error of ours.
type failedContext struct {
	context.Context
	err error
}

var alreadyDone = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// Done implements context.Context.
func (failedContext) Done() <-chan struct{} { return alreadyDone }

// Err implements context.Context.
func (c failedContext) Err() error { return c.err }
