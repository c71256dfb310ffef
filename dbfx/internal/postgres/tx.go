package postgres

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sergas/dbkit/dbfx/internal/engine"
)

// BeginTx implements driver.ConnBeginTx.
func (c *conn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	if c.bound {
		return c.adopt()
	}
	query := label(opts)
	start := c.trace.Begin(query)
	if c.idled() {
		line := below(c.stdConn.Conn().PgConn().Conn())
		c.silence = c.listen(ctx, nil, func() { _ = line.Close() })
	}
	raw, err := c.stdConn.BeginTx(ctx, opts)
	if err == nil && !c.readsOnly(opts) && c.misplaced() {
		_ = raw.Rollback() // nothing has run: another connection will do
		err = errRole
	}
	err = c.replaceable(err)
	c.forget()
	c.note(err)
	c.trace.End(ctx, query, nil, start, 0, err)
	if err != nil {
		return nil, err
	}
	return &tx{raw: raw, conn: c, ctx: ctx}, nil
}

// tx is a transaction that tells its end.
type tx struct {
	raw  driver.Tx
	conn *conn
	ctx  context.Context // of BeginTx, for the trace
}

// Commit implements driver.Tx.
func (t *tx) Commit() error {
	start := t.conn.trace.Begin("COMMIT")
	err := t.conn.commit(t.raw.Commit)
	t.conn.trace.End(t.ctx, "COMMIT", nil, start, 0, err)
	return err
}

// Rollback implements driver.Tx.
func (t *tx) Rollback() error {
	start := t.conn.trace.Begin("ROLLBACK")
	err := t.raw.Rollback()
	t.conn.trace.End(t.ctx, "ROLLBACK", nil, start, 0, err)
	return err
}

// commit sends COMMIT with send, unless the connection is known to be gone.
func (c *conn) commit(send func() error) error {
	if err := c.farewell(); err != nil {
		return &notSentError{err}
	}
	c.witness.end()
	err := send()
	if err == nil && c.witness.doubtful() {
		err = errNotReplicated
	}
	return err
}

// farewell returns what ended the connection, nil while it lives. A server that
// ends one, for idling in a transaction or because it stops, says so at once: what
// lies in the socket before COMMIT is sent was said of a transaction that is not
// committed. The look costs less than a microsecond.
func (c *conn) farewell() error {
	pg := c.stdConn.Conn().PgConn()
	for range maxNews {
		switch {
		case pg.IsClosed():
			return errors.New("conn closed")
		case !c.socket.known() || !c.socket.pending():
			return nil
		}
		if err := receive(pg); err != nil {
			c.note(err)
			return err
		}
	}
	return nil
}

// receive reads a message that has come, and sends nothing. Of one that has come in
// part the rest is not waited for.
func receive(pg *pgconn.PgConn) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	if _, err := pg.ReceiveMessage(ctx); err != nil && !pgconn.Timeout(err) {
		return err
	}
	return nil
}

// maxNews is how many messages that no one asked for, such as notifications, are
// read before COMMIT at most.
const maxNews = 1000

// errNotReplicated is a COMMIT that holds on the primary, and perhaps nowhere
// else: a failover may lose it.
var errNotReplicated = errors.New("the wait for the synchronous standby was cancelled: committed on the primary, perhaps not on the standby")

// notSentError is a COMMIT that never left, as the connection was gone.
type notSentError struct{ err error }

func (e *notSentError) Error() string {
	return fmt.Sprintf("the connection was lost before COMMIT was sent: %v", e.err)
}

// Unwrap returns what ended the connection. It is a lost one whatever that says.
func (e *notSentError) Unwrap() []error { return []error{e.err, engine.ErrLost} }
