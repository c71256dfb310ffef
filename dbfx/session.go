package dbfx

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/sergas/dbkit/dbfx/internal/engine"
)

// Session is the handle of one scope: a transaction, or a savepoint in one. It
// is valid only during its fn and for one goroutine at a time. It has no Commit
// and no Rollback: returning from fn is both.
//
// On PostgreSQL what a text leaves on its connection ends when the connection goes
// back to the pool, after a session as after a bare statement: SET, LISTEN,
// temporary tables, cursors WITH HOLD, advisory locks. That costs a round trip
// where such a text was sent, and nothing elsewhere; SET LOCAL, set_config(…, true)
// and pg_advisory_xact_lock need none. What a function of the database does inside
// is not seen, PREPARE stays, and behind a pooler nothing is reset.
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
func (s *Session) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	call, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer s.root.leave()
	return s.root.exec(call, query, args)
}

// QueryContext implements DBTX. Close the rows before fn returns: those that are
// left open are closed then, and fail with ErrSessionDone where they are read on.
func (s *Session) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	call, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer s.root.leave()
	return s.root.query(call, query, args)
}

// QueryRowContext implements DBTX.
func (s *Session) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	call, err := s.enter(ctx)
	if err != nil {
		// database/sql hands the error of a finished context to Row.Scan, before it
		// looks for a connection, and there is no other way to make a Row.
		return new(sql.DB).QueryRowContext(failedContext{ctx, err}, query, args...)
	}
	defer s.root.leave()
	return s.root.queryRow(call, query, args)
}

// PrepareContext implements DBTX. The statement ends with the transaction.
func (s *Session) PrepareContext(ctx context.Context, query string) (*sql.Stmt, error) {
	call, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer s.root.leave()
	defer call.End()
	tx, err := s.root.asSQLTx()
	if err != nil {
		return nil, err
	}
	return tx.PrepareContext(s.root.seen(call), query)
}

// AfterCommit registers fn to run once the outermost session is committed and
// its connection is back in the pool, in the order of registration. It does not
// run for an attempt or a savepoint that was rolled back, nor when the outcome
// is unknown, nor in View. It is not durable: for what must happen write a row.
// Its context has the values of Run's and no deadline.
//
// A panic of fn reaches the caller of Run once the other hooks have run: whoever
// recovers it knows that the session is committed, as no hook runs before. Close
// waits for hooks as it does for sessions, and takes nothing from a session that
// has committed.
func (s *Session) AfterCommit(fn func(ctx context.Context)) {
	if fn == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hooks = append(s.hooks, fn)
}

// SQLTx returns the transaction for libraries that ask for one. Do not end it:
// its Commit rolls back and the session is reported as rolled back. What runs in it
// ends with fn, under whichever context. A session that has ended returns one that
// has ended too.
func (s *Session) SQLTx() *sql.Tx {
	if !s.root.use() {
		return doneTx()
	}
	defer s.root.used()
	tx, err := s.root.asSQLTx()
	if err != nil {
		return doneTx()
	}
	return tx
}

// Raw gives fn the driver's connection, inside of the transaction, for what
// database/sql cannot do: *pgx.Conn's CopyFrom and SendBatch by way of
// conn.(interface{ Conn() *pgx.Conn }), or modernc's interfaces on SQLite. No
// statement of the session runs meanwhile. fn must not keep the connection, nor
// begin or end a transaction. Its error is returned unchanged, and dooms the scope
// as that of a statement does.
func (s *Session) Raw(fn func(driverConn any) error) error {
	if _, err := s.enter(s.ctx); err != nil {
		return err
	}
	defer s.root.leave()
	var result error
	var panicked any // Raw of database/sql would close the connection, and wait for open rows first
	returned := false
	err := s.root.conn.Raw(func(conn any) error {
		defer func() {
			if panicked = recover(); panicked == nil && !returned { // Goexit, which nothing stops
				go s.root.closeAll() // waits for the end of Raw, as that waits for this
			}
		}()
		if _, ok := s.root.link.(*foreign); !ok {
			conn = s.root.link // and not what an observer has put around it
		}
		s.root.link.Lend(s.ctx)
		result = fn(conn)
		returned = true
		s.root.link.Note(result)
		return nil
	})
	if panicked != nil {
		panic(panicked)
	}
	if err != nil {
		return err
	}
	return result
}

// Attempt is 1 on the first run of fn, and counts the retries.
func (s *Session) Attempt() int { return s.root.number }

// Name is the session's name by the option Name, "" without one. A nested scope
// has the name of the outermost.
func (s *Session) Name() string { return s.root.options.name }

// enter allows one statement; a nil error must be followed by root.leave. The call
// that it returns ends with the session at the latest.
func (s *Session) enter(ctx context.Context) (*engine.Call, error) {
	if s.done.Load() {
		return nil, ErrSessionDone
	}
	if s.root.killed.Load() {
		return nil, ErrClosed
	}
	if s.busy.Load() {
		return nil, fmt.Errorf("%w: a nested session is open", ErrSessionBusy)
	}
	if err := s.health(); err != nil {
		return nil, err
	}
	if !s.root.use() {
		return nil, ErrSessionDone
	}
	s.root.hold.Running.Add(1)
	if s.root.sessions.FromContext(ctx) == s && ctx.Done() != nil { // nil is that of context.WithoutCancel
		return engine.NewCall(ctx, nil), nil
	}
	// A context from elsewhere: a statement that is still running when fn returns
	// must end then.
	return engine.NewCallWithin(ctx, s.ctx), nil
}

func (tx *transaction) leave() {
	tx.hold.Running.Add(-1)
	tx.used()
}

// health says why the scope can no longer be committed, nil if it can.
func (s *Session) health() error {
	s.mu.Lock()
	doomed := s.doomed
	s.mu.Unlock()
	if doomed != nil {
		return &RolledBackError{Err: doomed}
	}
	switch state := s.root.link.State(); {
	case state.Left:
		return &CommitUnknownError{Err: errLeft}
	case state.Finished:
		return &RolledBackError{Err: errEndedByUser}
	case state.Ended || state.First != nil:
		return &RolledBackError{Err: state.First}
	}
	return nil
}

func (s *Session) doom(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.doomed == nil {
		s.doomed = err
	}
}

// adopt takes the hooks of a nested scope that succeeded.
func (s *Session) adopt(nested *Session) {
	nested.mu.Lock()
	hooks := nested.hooks
	nested.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hooks = append(s.hooks, hooks...)
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
