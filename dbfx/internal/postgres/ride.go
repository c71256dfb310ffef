package postgres

import (
	"context"
	"database/sql"
	"database/sql/driver"

	"github.com/jackc/pgx/v5"
)

// ending ends a session's transaction: pgx's own, or a ride.
type ending interface {
	Commit(ctx context.Context) error
	Rollback(ctx context.Context) error
}

// ride is a session's transaction whose BEGIN goes with its first statement, and
// whose ROLLBACK is not waited for where no one can miss it.
type ride struct {
	conn *conn
	ctx  context.Context // of who has the connection in hand
	opts driver.TxOptions
	told bool // observers know of BEGIN
}

// board lets BEGIN ride with the first statement of a session.
func (c *conn) board(ctx context.Context, opts driver.TxOptions) error {
	r := &ride{conn: c, ctx: ctx, opts: opts}
	begin, err := c.begin(opts)
	if err != nil {
		return err
	}
	c.wire.arm(begin)
	c.ride, c.open = r, r
	return nil
}

// begin returns what begins a transaction: BEGIN, the settings of a session behind
// a pooler, and what is to be asked of the server.
func (c *conn) begin(opts driver.TxOptions) (preamble, error) {
	question, wrong := c.question(opts)
	key := beginKey{opts, question, wrong}
	if known, ok := c.connector.begins.Load(key); ok {
		return known.(preamble), nil
	}
	text := "begin"
	if level := isolation[sql.IsolationLevel(opts.Isolation)]; level != "" {
		text += " isolation level " + string(level)
	}
	if opts.ReadOnly {
		text += " read only"
	}
	statements := append([]string{text}, c.connector.onBegin...)
	if question != "" {
		statements = append(statements, question)
	}
	begin, err := newPreamble(statements...)
	begin.wrong = wrong
	if err == nil {
		c.connector.begins.Store(key, begin)
	}
	return begin, err
}

// beginKey is what a preamble depends on.
type beginKey struct {
	opts            driver.TxOptions
	question, wrong string
}

// question is what a connection that had idled asks together with BEGIN, and the
// answer of a server that is no longer what target_session_attrs asks for. The
// server tells of that on its own, but behind the answer to the first statement,
// which would have met it.
//
// SHOW takes no snapshot: SET TRANSACTION can follow.
func (c *conn) question(opts driver.TxOptions) (show, wrong string) {
	pg := c.stdConn.Conn().PgConn()
	recovering := pg.ParameterStatus("in_hot_standby")
	if !c.reused || c.readsOnly(opts) || recovering == "" {
		return "", "" // fresh, or older than PostgreSQL 14
	}
	switch attrs := c.connector.opt.Args["target_session_attrs"]; {
	case attrs == "read-write":
		return "show transaction_read_only", "on"
	case attrs == "primary":
		return "show in_hot_standby", "on"
	case attrs == "read-only" && recovering == "off": // default_transaction_read_only makes it so
		return "show default_transaction_read_only", "off"
	case attrs == "standby", attrs == "read-only", attrs == "prefer-standby" && c.standby:
		return "show in_hot_standby", "off"
	}
	return "", ""
}

// label is how BEGIN is called to observers.
func label(opts driver.TxOptions) string {
	if opts.ReadOnly {
		return "BEGIN READ ONLY"
	}
	return "BEGIN"
}

// departs is called before each statement of a session. BEGIN is told before the
// first, as something that took no time: the time is the statement's. It may go with
// a later one, where the first was not sent.
func (c *conn) departs(ctx context.Context) {
	r := c.ride
	if r == nil {
		return
	}
	if !r.told {
		r.told = true
		query := label(r.opts)
		c.trace.End(ctx, query, nil, c.trace.Begin(query), 0, nil)
	}
	if c.wire.waiting() {
		c.listenForBegin(ctx)
	}
}

// listenForBegin gives up a connection that had idled and does not answer BEGIN,
// when the server answers others. The statement behind BEGIN may take its time, so
// that the server is asked to answer BEGIN at once.
func (c *conn) listenForBegin(ctx context.Context) {
	if !c.idled() {
		return
	}
	w, line := c.wire, below(c.stdConn.Conn().PgConn().Conn())
	w.flush()
	c.silence = c.listen(ctx, w.unanswered, func() {
		if w.abandon() {
			_ = line.Close()
		}
	})
}

// depart sends BEGIN without a statement of the session's.
func (c *conn) depart(ctx context.Context) error {
	c.departs(ctx)
	return c.stdConn.Conn().Ping(ctx)
}

// Conn returns the connection of pgx, for those who reach it through Raw. In a
// session it is in the transaction: pgx has ways around the wire, and a connection
// that died while it idled cannot be replaced once it is out of hand.
func (c *conn) Conn() *pgx.Conn {
	if r := c.ride; r != nil && c.wire.waiting() {
		err := c.depart(r.ctx)
		for c.again(r.ctx, &err) {
			err = c.depart(r.ctx)
		}
		if err != nil {
			die(c.stdConn.Conn().PgConn()) // what is asked of it must not run outside
		}
		c.note(err)
	}
	c.witness.handOut()
	return c.stdConn.Conn()
}

// neverSent ends a transaction of which the server knows nothing.
func (c *conn) neverSent() (done bool, err error) {
	if c.ride == nil {
		return false, nil
	}
	if c.wire.at() == refused {
		err = pgx.ErrTxCommitRollback
	}
	return c.wire.disarm(), err
}

// Commit implements ending.
func (r *ride) Commit(ctx context.Context) error {
	raw := r.conn.stdConn.Conn()
	tag, err := raw.Exec(ctx, "commit")
	if err != nil {
		if raw.PgConn().TxStatus() != 'I' {
			die(raw.PgConn())
		}
		return err
	}
	if tag.String() == "ROLLBACK" {
		return pgx.ErrTxCommitRollback
	}
	return nil
}

// Rollback implements ending. It does not wait where the transaction holds no lock
// that someone could meet: it only reads, or it has failed, which freed its locks.
func (r *ride) Rollback(ctx context.Context) error {
	pg := r.conn.stdConn.Conn().PgConn()
	free := r.opts.ReadOnly || pg.TxStatus() == 'E' && !r.conn.witness.hadSavepoint()
	r.conn.witness.end()
	var err error
	if free && !pg.IsClosed() && !pg.IsBusy() {
		err = r.conn.wire.leave(pg, rollbackTimeout)
	} else {
		_, err = r.conn.stdConn.Conn().Exec(ctx, "rollback")
	}
	if err != nil {
		die(pg)
	}
	return err
}
