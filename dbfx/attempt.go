package dbfx

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sergas/dbkit/dbfx/internal/engine"
)

// transaction is one attempt of an outermost session: a connection of its own and
// the transaction on it.
type transaction struct {
	*work
	number int       // of the attempt, from 1
	until  time.Time // when the wait for a connection is over
	wait   deadline  // ends it; set where until is

	top    Session         // the outermost scope
	ctx    context.Context // of the wait for a connection, BEGIN and fn
	cancel context.CancelCauseFunc

	pool   pool
	queued bool // it has a place in the pool's queue
	conn   *sql.Conn
	users  sync.RWMutex // of conn, from when fn runs; see use
	gone   bool         // conn goes back; users guards it
	link   engine.Link
	hold   engine.Hold // what link tells of the session

	mu     sync.Mutex
	sqlTx  *sql.Tx  // made when SQLTx or PrepareContext asks for it
	opened []opened // results that may be open still

	killed atomic.Bool // Close ended it
	ending *limited    // the context of COMMIT or ROLLBACK; mu guards it
}

var (
	errCommitTimeout = errors.New("COMMIT_TIMEOUT has passed")
	errSessionEnd    = errors.New("dbfx: the session's function has returned")
)

// attemptResult is what became of an attempt.
type attemptResult struct {
	err       error
	first     error // the first failed statement: fn may have hidden it
	committed bool
	begun     bool // fn ran
}

// attempt runs fn once. Its clean-up stands in a defer without recover, so a
// panic keeps its stack and Goexit, which t.FailNow uses, cannot commit.
func (w *work) attempt(ctx context.Context, number int) (result attemptResult) {
	active := w.sessions.active
	tx, err := w.begin(ctx)
	if err != nil {
		active.enter(w, nil, between)
		result.err = err
		return result
	}
	tx.number, result.begun = number, true
	s := &tx.top
	s.root, s.readOnly = tx, w.readOnly
	fnCtx, stop := withTimeout(tx.ctx, w.options.timeout)
	defer stop()
	s.ctx = context.WithValue(fnCtx, sessionKey{w.sessions}, s)
	tx.hold.Scope = tx
	active.enter(w, tx, working)
	defer func() {
		result.first = tx.link.State().First
		s.done.Store(true)
		if tx.hold.Running.Load() > 0 {
			tx.cancel(errSessionEnd) // ROLLBACK would wait for the statement
		}
		if !result.committed {
			tx.rollback()
		}
		if result.committed {
			w.hooks = s.hooks
			active.enter(w, nil, committed)
		} else {
			active.enter(w, nil, between)
		}
		tx.cancel(errSessionEnd)
		tx.release()
		w.released(tx)
	}()
	result.err = w.fn(s.ctx, s)
	result.err = tx.finish(result.err)
	result.committed = result.err == nil && !w.readOnly
	return result
}

// Context implements engine.Scope.
func (tx *transaction) Context() context.Context { return tx.top.ctx }

// Inside implements engine.Scope. A context without Done is one that
// context.WithoutCancel made.
func (tx *transaction) Inside(ctx context.Context) bool {
	s := tx.sessions.FromContext(ctx)
	return s != nil && s.root == tx && ctx.Done() != nil
}

// finish decides what becomes of the transaction after fn returned err, and
// commits it. It returns nil for a read-only one that may be rolled back.
func (tx *transaction) finish(err error) error {
	state := tx.link.State()
	if state.Left {
		if err == nil {
			err = engine.ErrControl
		}
		return &CommitUnknownError{Err: fmt.Errorf("a statement ended the transaction: %w", err)}
	}
	if err != nil {
		return ofOtherCommit(err)
	}
	if err := tx.top.result(nil); err != nil {
		return err
	}
	if tx.readOnly {
		return nil
	}
	return tx.commit()
}

// withTimeout is context.WithTimeout, and ctx itself where d is 0.
func withTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if d <= 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, d)
}
