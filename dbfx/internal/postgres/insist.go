package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

const (
	insistAfter  = 100 * time.Millisecond // pgx's own cancel request; four times as long for each further one
	cancelTime   = 2 * time.Second        // of one cancel request
	cancelAtStop = 100 * time.Millisecond // of the last one, when the pool closes
)

// insist repeats the cancel request for a statement whose context ended, until the
// server has closed its connection, or pgx has given up after 15 seconds.
//
// pgx sends one. It is a connection of its own, and can overtake the statement: the
// server then finds nothing to cancel, runs the statement after it, and keeps its
// transaction with all locks until the statement is over, as it looks at the line
// only then. A SELECT pg_sleep(1000) held a row for 1,000 seconds that way.
func (c *connector) insist(pg *pgconn.PgConn) {
	select {
	case <-pg.CleanupDone():
		return
	default:
	}
	ctx, leave, err := c.supply.join(context.Background())
	if err != nil {
		return
	}
	go func() {
		defer leave()
		for pause := insistAfter; ; pause *= 4 {
			timer := time.NewTimer(pause)
			select {
			case <-pg.CleanupDone():
				timer.Stop()
				return
			case <-ctx.Done():
				timer.Stop()
				cancelOnce(pg, cancelAtStop)
				return
			case <-timer.C:
			}
			cancelOnce(pg, cancelTime)
		}
	}()
}

func cancelOnce(pg *pgconn.PgConn, patience time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_ = pg.CancelRequest(ctx)
}
