package sqlite

import (
	"context"
	"time"

	lib "modernc.org/sqlite/lib"
)

// busyPauses are the pauses of SQLite's own busy handler; the last one is repeated.
var busyPauses = [...]time.Duration{1, 2, 5, 10, 15, 20, 25, 25, 25, 50, 50, 100} // milliseconds

// patiently runs a statement that may have to wait for another process's lock, and
// that does nothing where it cannot have it. SQLite's wait for that heeds no
// context, and the driver's reports a statement as cancelled that ended well just
// before its context; so the wait is here, in the same steps and as long as SQLite's.
func (r *realConn) patiently(ctx context.Context, act func(context.Context) error) error {
	inner := context.WithoutCancel(ctx)
	if ctx.Done() == nil || r.patience <= 0 {
		return act(inner)
	}
	lib.Xsqlite3_busy_timeout(r.tls, r.db, 0)
	err := act(inner)
	if primary(err) == codeBusy {
		err = r.wait(ctx, act, err)
	}
	lib.Xsqlite3_busy_timeout(r.tls, r.db, int32(r.patience.Milliseconds())) //nolint:gosec // it comes from an int32
	return err
}

// wait repeats act, which was busy, for as long as SQLite would.
func (r *realConn) wait(ctx context.Context, act func(context.Context) error, err error) error {
	until := time.Now().Add(r.patience)
	for n := 0; primary(err) == codeBusy && r.waits(); n++ {
		pause := min(busyPauses[min(n, len(busyPauses)-1)]*time.Millisecond, time.Until(until))
		if pause <= 0 {
			return err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
		err = act(context.WithoutCancel(ctx))
	}
	return err
}

// waits reports whether SQLite would wait for a lock: a transaction that has read
// does not, as what it has read may change meanwhile.
func (r *realConn) waits() bool {
	return lib.Xsqlite3_txn_state(r.tls, r.db, 0) == lib.SQLITE_TXN_NONE
}

// lookAtPatience asks for the busy timeout, which a PRAGMA may have changed.
func (r *realConn) lookAtPatience() {
	row, err := r.askRow(context.Background(), "pragma busy_timeout")
	if err != nil || len(row) == 0 {
		return
	}
	if milliseconds, ok := row[0].(int64); ok {
		r.patience = time.Duration(milliseconds) * time.Millisecond
	}
}
