package postgres

import (
	"context"
	"io"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// Wire is a wire for tests that need a server, which are in a package of their
// own: the servers of fxtest are made with dbfx.
type Wire struct{ w *wire }

// NewWire makes a wire and its frontend.
func NewWire(in io.Reader, out io.Writer) (Wire, *pgproto3.Frontend) {
	w := newWire(in, out)
	return Wire{w}, pgproto3.NewFrontend(w, w)
}

// Arm lets the statements ride with the next request.
func (w Wire) Arm(statements ...string) {
	begin, err := newPreamble(statements...)
	if err != nil {
		panic(err)
	}
	w.w.arm(begin)
}

// Disarm ends what Arm began.
func (w Wire) Disarm() bool { return w.w.disarm() }

// Status is what the server will report.
func (w Wire) Status(pg *pgconn.PgConn) string { return string(w.w.status(pg.TxStatus())) }

// At returns how far BEGIN has come.
func (w Wire) At() string {
	return [...]string{idle: "idle", armed: "armed", refused: "refused", sent: "sent", answered: "answered"}[w.w.at()]
}

// Leave sends ROLLBACK.
func (w Wire) Leave(pg *pgconn.PgConn) error { return w.w.leave(pg, time.Minute) }

// Left reports whether ROLLBACK waits for its answer.
func (w Wire) Left() bool { return w.w.left() }

// Drain waits for the answer to ROLLBACK.
func (w Wire) Drain(ctx context.Context, pg *pgconn.PgConn) error { return w.w.drain(ctx, pg) }
