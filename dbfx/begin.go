package dbfx

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"time"

	"github.com/sergas/dbkit/dbfx/internal/engine"
)

// errTimeout is the cause of a wait that a setting's time limit ended.
var errTimeout = errors.New("the time limit has passed")

// beginOn takes a connection of p and begins a transaction on it.
//
// The order in which a session takes what it needs is the same everywhere, so
// that no two can wait for each other:
//
//  1. a place in the queue of the pool, first come, first served
//  2. a connection of the pool
//  3. the right to write, which SQLite's connection takes at BEGIN
//
// The context that bounds the wait is that of fn: BEGIN leaves nothing behind that
// its end could cut. A context that ended a sql.Tx would make pgx report as
// cancelled what was committed, in 986 of 2000 rounds.
func (w *work) beginOn(ctx context.Context, p pool, start time.Time) (*transaction, error) {
	s := w.sessions
	if err := s.engine.SupportsIsolation(w.options.isolation); err != nil {
		return nil, errors.Join(ErrOptions, err)
	}
	tx := &transaction{work: w, pool: p, until: s.until(ctx, p, start)}
	tx.ctx, tx.cancel = context.WithCancelCause(ctx)
	began := false
	defer func() { // also when a driver or an observer panics
		if !began {
			tx.cancel(errSessionEnd)
			tx.rollback()
			tx.release()
		}
	}()
	if !tx.until.IsZero() {
		tx.bound()
	}
	s.active.enter(w, tx, waiting)
	err := tx.checkout()
	inTime := tx.until.IsZero() || s.deadlines.stop(&tx.wait) // what has fired may be about to cancel
	s.active.enter(w, tx, between)
	if err == nil && inTime && tx.ctx.Err() == nil {
		began = true
		return tx, nil
	}
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case s.active.closing.Err() != nil:
		return nil, ErrClosed
	case !inTime:
		if err == context.Canceled || errors.Is(err, errTimeout) { //nolint:errorlint // bare, it is only the end of the wait
			err = nil
		}
		return nil, &CheckoutTimeoutError{Waited: time.Since(start), Stats: p.db.Stats(), Err: err}
	}
	return nil, err
}

// until is when the wait for a connection of p is over, which began at start; zero
// where nothing but ctx ends it. A replica gets half of the time that is left, so
// that the primary can stand in for it.
func (s *Sessions) until(ctx context.Context, p pool, start time.Time) (at time.Time) {
	if s.poolTimeout > 0 {
		at = start.Add(s.poolTimeout)
	}
	if !p.replica {
		return at
	}
	if deadline, ok := ctx.Deadline(); ok && (at.IsZero() || deadline.Before(at)) {
		at = deadline
	}
	if !at.IsZero() {
		at = time.Now().Add(time.Until(at) / 2)
	}
	return at
}

// checkout waits in the queue, takes a connection and begins the transaction.
//
// A connection that died while it was idle is replaced, each one at most once:
// nothing has run on it, and fn never sees it. It says so as driver.ErrBadConn. A
// fresh one that fails at BEGIN is tried once more, and then its reason is told.
func (tx *transaction) checkout() error {
	if err := tx.pool.gate.Enter(tx.ctx, tx.options.name); err != nil {
		return err
	}
	tx.queued = true
	tx.hurry()
	idle, fresh := tx.pool.db.Stats().OpenConnections+1, 1
	for {
		err := tx.open()
		if err == nil || tx.ctx.Err() != nil || tx.sessions.engine.Classify(err).Kind != engine.Lost {
			return err
		}
		switch dead := errors.Is(err, driver.ErrBadConn); {
		case dead && idle > 0:
			idle--
		case !dead && tx.conn != nil && fresh > 0:
			fresh--
		default:
			return err
		}
		if tx.conn != nil {
			tx.discard()
			_ = tx.conn.Close()
			tx.conn, tx.link = nil, nil
		}
	}
}

// open takes a connection and begins the transaction on it.
func (tx *transaction) open() error {
	ctx := engine.ForSession(tx.ctx)
	if !tx.until.IsZero() {
		ctx = engine.WithDeadline(ctx, tx.until)
	}
	conn, err := tx.pool.db.Conn(ctx)
	if err != nil {
		return err
	}
	tx.conn = conn
	if err := tx.start(); err != nil {
		return err
	}
	return tx.fresh()
}

// hurry bounds what a replica may take once it is the session's turn: it is not
// busy, so that it answers at once or not at all.
func (tx *transaction) hurry() {
	if !tx.pool.replica {
		return
	}
	tx.live.trying.Store(true)
	if !tx.until.IsZero() && !tx.sessions.deadlines.stop(&tx.wait) {
		return // it is over
	}
	if at := time.Now().Add(replicaPatience); tx.until.IsZero() || at.Before(tx.until) {
		tx.until = at
	}
	tx.bound()
}

// bound ends the wait for a connection when its time is over.
func (tx *transaction) bound() {
	tx.sessions.deadlines.set(&tx.wait, tx.until, func() { tx.cancel(errTimeout) })
}

// start finds the driver's connection and begins the transaction on it.
func (tx *transaction) start() error {
	tx.hold.Session, tx.hold.ReadOnly, tx.hold.Wait = tx.options.name, tx.readOnly, tx
	opts := sql.TxOptions{Isolation: tx.options.isolation, ReadOnly: tx.readOnly}
	err := tx.conn.Raw(func(conn any) error {
		tx.link = linkOf(conn)
		if tx.link == nil {
			return nil
		}
		err := tx.link.Start(tx.ctx, &tx.hold, driver.TxOptions{Isolation: driver.IsolationLevel(opts.Isolation), ReadOnly: opts.ReadOnly})
		if err != nil {
			tx.link.Unbind()
		}
		return err
	})
	if err == nil && tx.link == nil {
		f := &foreign{conn: tx.conn}
		tx.link = f
		tx.sqlTx, err = f.begin(tx.ctx, &opts)
	}
	return err
}

// Patience implements engine.Wait.
func (tx *transaction) Patience() time.Duration { return tx.sessions.poolTimeout }

// TimedOut implements engine.Wait.
func (tx *transaction) TimedOut(waited time.Duration, err error) error {
	return &CheckoutTimeoutError{Waited: waited, Stats: tx.pool.db.Stats(), Err: err}
}

// Another implements engine.Wait.
func (tx *transaction) Another(ctx context.Context) (link engine.Link, giveBack func(), err error) {
	conn, err := tx.pool.db.Conn(ctx)
	if err != nil {
		return nil, nil, err
	}
	_ = conn.Raw(func(c any) error {
		link = linkOf(c)
		return nil
	})
	return link, func() { _ = conn.Close() }, nil
}

// linkOf finds the driver's connection behind those that observers put around it,
// such as otelsql's. It is nil for a connection that is not dbfx's.
func linkOf(conn any) engine.Link {
	for {
		if link, ok := conn.(engine.Link); ok {
			return link
		}
		outer, ok := conn.(interface{ Raw() driver.Conn })
		if !ok {
			return nil
		}
		conn = outer.Raw()
	}
}
