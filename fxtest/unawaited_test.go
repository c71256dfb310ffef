package fxtest_test

import (
	"context"
	"testing"
	"time"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

// A pool of one connection whose ROLLBACK is on its way serves the next session,
// and a bare statement when the answer is there.
func TestView_ConnectionServesWhileRollbackIsOnItsWay(t *testing.T) {
	t.Parallel()
	app, direct, y := tallyApp(t)
	next := map[string]func(){
		"View": func() { session(t, app.Sessions.View, selectKey) },
		"Run":  func() { session(t, app.Sessions.Run, updateKey) },
		"bare": func() {
			if err := updateKey(context.Background(), app.DB); err != nil {
				t.Error(err)
			}
		},
		"begun by hand": func() {
			tx, err := app.DB.BeginTx(t.Context(), nil)
			if err != nil {
				t.Error(err)
				return
			}
			if err := updateKey(t.Context(), tx); err != nil {
				t.Error(err)
			}
			if err := tx.Commit(); err != nil {
				t.Error(err)
			}
		},
	}
	y.takesNoMore() // a connection that is given up has no successor
	for name, fn := range next {
		for range 10 {
			viewUnanswered(t, app, y)
			done := make(chan struct{})
			go func() { defer close(done); fn() }()
			y.release()
			<-done
			if stats := app.DB.Stats(); stats.InUse != 0 || stats.OpenConnections != 1 {
				t.Errorf("after %s: %+v", name, stats)
			}
		}
	}
	var left int
	err := direct.DB.QueryRowContext(t.Context(), `select count(*) from pg_stat_activity
		where datname = current_database() and state like 'idle in transaction%'`).Scan(&left)
	if left != 0 || err != nil {
		t.Errorf("%d servers are left in a transaction, %v", left, err)
	}
}

// The server ends the connection while ROLLBACK is on its way: nobody's statement
// fails for it.
func TestView_ServerEndsWhileRollbackIsOnItsWay(t *testing.T) {
	t.Parallel()
	app, direct, y := tallyApp(t, func(c *dbfx.Config) { c.PoolPrePing = "auto" })
	for i := range 12 {
		viewUnanswered(t, app, y)
		endOthers(t, direct)
		y.release()
		switch i % 3 {
		case 0:
			if err := updateKey(t.Context(), app.DB); err != nil {
				t.Error("bare:", err)
			}
		case 1:
			session(t, app.Sessions.Run, updateKey)
		case 2:
			session(t, app.Sessions.View, selectKey)
		}
	}
}

// A connection that does not answer ROLLBACK is discarded, and takes no one along.
func TestView_ConnectionThatDoesNotAnswerIsDiscarded(t *testing.T) {
	t.Parallel()
	app, _, p := proxied(t, func(c *dbfx.Config) { c.PoolSize, c.MaxOverflow = 1, 0 })
	session(t, app.Sessions.View, func(ctx context.Context, tx dbfx.DBTX) error {
		defer p.strand()
		return selectKey(ctx, tx)
	})
	if err := updateKey(t.Context(), app.DB); err != nil {
		t.Error(err)
	}
	session(t, app.Sessions.View, selectKey)
}

// A transaction that has failed behind a savepoint keeps what it locked before:
// its ROLLBACK is waited for, and the caller's next statement meets no lock.
func TestRun_LocksAreFreeWhenItReturns(t *testing.T) {
	t.Parallel()
	app, _, y := tallyApp(t)
	// work is a Run that fails in the last of texts; atEnd is called before ROLLBACK.
	work := func(atEnd func(), texts ...string) func() {
		return func() {
			_ = app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
				defer atEnd()
				if err := updateKey(ctx, tx); err != nil {
					return err
				}
				for _, text := range texts {
					if _, err := tx.ExecContext(ctx, text); err != nil {
						return err
					}
				}
				return nil
			})
		}
	}
	settle := func() { // a pool of one connection: a bare statement waits for ROLLBACK's answer
		y.release()
		_ = selectKey(t.Context(), app.DB)
	}
	y.takesNoMore()
	work(func() {}, "select 1/0")() // fills the caches
	settle()
	if got := y.count(work(y.hold, "select 1/0")); got != 2 {
		t.Errorf("failed: waited for %d round trips, want 2 and no more for ROLLBACK", got)
	}
	settle()
	if got := y.count(work(func() {}, "savepoint a", "select 1/0")); got != 4 {
		t.Errorf("failed behind a savepoint: waited for %d round trips, want 3 and that of ROLLBACK", got)
	}
}

func TestClose_KnowsOfARollbackOnItsWay(t *testing.T) {
	t.Parallel()
	cfg := fxtest.Postgres(t)
	y := newTally(t, cfg)
	cfg.Port = y.port
	db, err := dbfx.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Sessions().View(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
		defer y.hold()
		return tx.QueryRowContext(ctx, "select 1").Scan(new(int))
	})
	if err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := db.Close(ctx); err != nil || ctx.Err() != nil {
		t.Errorf("got %v, %v", err, ctx.Err())
	}
}
