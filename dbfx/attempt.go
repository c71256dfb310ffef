package dbfx

import (
	"context"
	"database/sql"
	"errors"
	"sync/atomic"
	"time"

	"github.com/sergas/dbkit/dbfx/internal/engine"
)

// transaction is one attempt of an outermost session: a pinned connection and
// the transaction on it.
type transaction struct {
	sessions *Sessions
	options  sessionOptions
	attempt  int
	wait     time.Duration

	top   Session // the outermost scope
	pool  pool
	gated bool // it has the pool's gate
	conn  *sql.Conn
	link  engine.Link
	hold  engine.Hold // what link tells of the session
	tx    *sql.Tx

	own    context.Context // that of the transaction
	cancel context.CancelCauseFunc
	timer  *time.Timer // cancels own: a wait, a COMMIT or a ROLLBACK that takes too long

	running atomic.Int32 // statements
	killed  atomic.Bool  // the drain ended it
}

func (r *transaction) leave() { r.running.Add(-1) }

var (
	errCommitTimeout = errors.New("COMMIT_TIMEOUT has passed")
	errSessionEnd    = errors.New("dbfx: the session's function has returned")
)

// outcome is what became of an attempt.
type outcome struct {
	err       error
	first     error // the first failed statement: fn may have hidden it
	committed bool
	wait      time.Duration
}

// attempt runs fn once. It does its clean-up in a defer without recover, so a
// panic keeps its stack and Goexit, which t.FailNow uses, cannot commit.
func (s *Sessions) attempt(ctx context.Context, fn func(context.Context, *Session) error, o sessionOptions,
	readOnly bool, number int, unit *unit,
) (out outcome) {
	r, err := s.begin(ctx, o, readOnly, unit)
	if err != nil {
		out.err = err
		return out
	}
	r.attempt, out.wait = number, r.wait
	t := &r.top
	t.root, t.readOnly = r, readOnly
	fnCtx, cancel := context.WithCancelCause(ctx)
	if o.timeout > 0 {
		var stop context.CancelFunc
		fnCtx, stop = context.WithTimeout(fnCtx, o.timeout)
		defer stop()
	}
	t.ctx = context.WithValue(fnCtx, sessionKey{s}, t)
	unit.enter(r, cancel)
	defer func() {
		out.first = r.link.State().First
		t.done.Store(true)
		cancel(errSessionEnd)
		if !out.committed {
			r.rollback()
		}
		unit.leave()
		r.release()
	}()
	out.err = fn(t.ctx, t)
	out.err = r.finish(t, out.err)
	out.committed = out.err == nil && !readOnly
	if out.committed {
		unit.hooks = t.hooks
	}
	return out
}
