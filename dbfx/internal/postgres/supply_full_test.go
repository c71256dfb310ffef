package postgres

import (
	"context"
	"database/sql/driver"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// A bare statement that is sent back to the idle connections for the third time
// fails. So it gets what goes back meanwhile, and is sent back only when nothing does.
func TestSupply_ARefusedRequestWaitsBeforeItIsSentBack(t *testing.T) {
	t.Parallel()
	for name, returns := range map[string]bool{"one goes back": true, "none goes back": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newSupply(1, func(context.Context) (*conn, error) { return nil, &pgconn.PgError{Code: "53300"} })
				s.came()
				s.idle.Add(1)
				for round := range 2 { // the server refuses, and then it is known to
					type answer struct {
						c   *conn
						err error
					}
					ended := make(chan answer, 1)
					start := time.Now()
					go func() {
						c, err := s.take(t.Context())
						ended <- answer{c, err}
					}()
					synctest.Wait()
					mine := &conn{}
					if returns && !s.handOver(mine) {
						t.Error("no one takes the connection")
					}
					got := <-ended
					if returns && (got.c != mine || got.err != nil) {
						t.Errorf("round %d: got %v, %v", round, got.c, got.err)
					}
					if !returns && (!errors.Is(got.err, driver.ErrBadConn) || time.Since(start) < returnPause) {
						t.Errorf("round %d: got %v after %s", round, got.err, time.Since(start))
					}
				}
				s.close()
			})
		})
	}
}
