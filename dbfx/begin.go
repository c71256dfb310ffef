package dbfx

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"math"
	"time"

	"github.com/sergas/dbkit/dbfx/internal/engine"
)

// errTimeout is the cause of a wait that a setting's time limit ended.
var errTimeout = errors.New("the time limit has passed")

// deadConnections is how many dead connections in a row begin throws away. It is
// above every pool that is not without limit; each costs one failed write.
const deadConnections = 1000

// beginOn takes a connection of p and begins a transaction on it.
//
// It does both on a context of the transaction's own, which ctx, POOL_TIMEOUT and
// the drain can end only until BEGIN has succeeded. Cancelling the context of a
// transaction makes pgx report as cancelled what was committed, in 986 of 2000
// rounds.
func (s *Sessions) beginOn(ctx context.Context, p pool, o sessionOptions, readOnly bool, u *unit) (*transaction, error) {
	if err := s.engine.SupportsIsolation(o.isolation); err != nil {
		return nil, errors.Join(ErrOptions, err)
	}
	start := time.Now()
	r := &transaction{sessions: s, options: o, pool: p, link: noLink{}}
	r.own, r.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	r.timer = time.AfterFunc(s.firstTimeout(), r.timeout)
	release := func() bool { return true }
	if ctx.Done() != nil {
		release = context.AfterFunc(ctx, func() { r.cancel(context.Cause(ctx)) })
	}
	u.waits(r.cancel)
	err := r.checkout(start, readOnly)
	u.waits(nil)
	inTime, released := r.timer.Stop(), release()
	// What came first counts, also if BEGIN succeeded after it: its goroutine may
	// be about to cancel the transaction's context.
	if err == nil && inTime && released && r.own.Err() == nil {
		return r, nil
	}
	if r.tx != nil {
		r.rollback()
	}
	stats := p.db.Stats()
	r.release()
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case s.drain.closing.Err() != nil:
		return nil, ErrClosed
	case !inTime:
		if err == context.Canceled { //nolint:errorlint // bare, it is only the end of the wait
			err = nil
		}
		return nil, &CheckoutTimeoutError{Waited: time.Since(start), Stats: stats, Err: err}
	}
	return nil, err
}

// firstTimeout is POOL_TIMEOUT, or so long that it never comes.
func (s *Sessions) firstTimeout() time.Duration {
	if s.poolTimeout <= 0 {
		return math.MaxInt64
	}
	return s.poolTimeout
}

// timeout is what the timer does, before BEGIN as in COMMIT and ROLLBACK.
func (r *transaction) timeout() { r.cancel(errTimeout) }

// checkout waits in the queue, takes a connection and begins the transaction. A
// connection that died while it was idle is replaced: nothing has run on it, and
// fn never sees it.
func (r *transaction) checkout(start time.Time, readOnly bool) error {
	if err := r.pool.gate.Enter(r.own, r.options.name); err != nil {
		return err
	}
	r.gated = true
	for range deadConnections {
		conn, err := r.pool.db.Conn(r.own)
		if err != nil {
			return err
		}
		r.conn, r.wait = conn, time.Since(start)
		if err = conn.Raw(r.connect); err == nil {
			r.hold.Session = r.options.name
			r.link.Bind(&r.hold)
			r.tx, err = conn.BeginTx(r.own, &sql.TxOptions{Isolation: r.options.isolation, ReadOnly: readOnly})
		}
		if first := r.sessions.engine.OnBegin(); err == nil && first != "" {
			_, err = r.tx.ExecContext(r.own, first)
		}
		if err == nil || r.own.Err() != nil || r.sessions.engine.Classify(err).Kind != engine.Lost {
			return err
		}
		if r.tx != nil { // it died after BEGIN; a connection with a Tx cannot be discarded
			_ = r.tx.Rollback()
			r.tx = nil
		}
		r.discard()
		r.giveBack()
	}
	return driver.ErrBadConn
}

// connect finds the driver's connection behind those that observers put around
// it, such as otelsql's.
func (r *transaction) connect(conn any) error {
	for {
		if link, ok := conn.(engine.Link); ok {
			r.link = link
			return nil
		}
		outer, ok := conn.(interface{ Raw() driver.Conn })
		if !ok {
			return nil // a *sql.DB that is not dbfx's
		}
		conn = outer.Raw()
	}
}

// noLink stands for a connection that is not dbfx's: a replaced *sql.DB.
type noLink struct{}

func (noLink) Bind(*engine.Hold)      {}
func (noLink) Permit()                {}
func (noLink) Unbind()                {}
func (noLink) State() engine.State    { return engine.State{} }
func (noLink) Forgive()               {}
func (noLink) SetReadOnly(bool) error { return nil }
