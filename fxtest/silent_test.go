package fxtest_test

import (
	"context"
	"database/sql"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

// stranded returns an application whose twenty connections were dropped on the way,
// without a word, while they idled. New ones can be made.
func stranded(t *testing.T, idle time.Duration) *fxtest.App {
	t.Helper()
	cfg := fxtest.Postgres(t)
	p := newProxy(t, cfg)
	cfg.Port, cfg.ConnectTimeout = p.port, 5*time.Minute
	app := fxtest.New(t, fxtest.Use(cfg))
	warm(t, app, 20)
	p.strand()
	time.Sleep(idle)
	return app
}

// atOnce runs work twenty times at once and counts who failed.
func atOnce(t *testing.T, within time.Duration, work func(ctx context.Context, i int) error) (failed int32) {
	t.Helper()
	var wg sync.WaitGroup
	var count atomic.Int32
	for i := range 20 {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), within)
			defer cancel()
			if err := work(ctx, i); err != nil {
				t.Log(err)
				count.Add(1)
			}
		})
	}
	wg.Wait()
	return count.Load()
}

// TestSilence_LinesThatAreGoneCostNoRequest: each connection has idled enough for a
// ping, which gets no answer.
func TestSilence_LinesThatAreGoneCostNoRequest(t *testing.T) {
	t.Parallel()
	app := stranded(t, 1100*time.Millisecond)
	failed := atOnce(t, 5*time.Minute, func(ctx context.Context, i int) (err error) {
		switch i % 3 {
		case 0:
			_, err = app.DB.ExecContext(ctx, "select 1")
		case 1:
			err = beginBare(ctx, app)
		default:
			err = app.Sessions.Run(ctx, touch)
		}
		return err
	})
	if failed > 0 {
		t.Errorf("%d of 20 failed", failed)
	}
}

// TestSilence_ATransactionDoesNotWaitForALineThatIsGone: its connection had idled too
// briefly for a ping, and BEGIN gets no answer.
func TestSilence_ATransactionDoesNotWaitForALineThatIsGone(t *testing.T) {
	t.Parallel()
	app := stranded(t, 50*time.Millisecond)
	failed := atOnce(t, 45*time.Second, func(ctx context.Context, i int) error {
		if i%4 == 0 {
			return beginBare(ctx, app)
		}
		return app.Sessions.Run(ctx, touch)
	})
	if failed > 0 {
		t.Errorf("%d of 20 transactions failed", failed)
	}
}

// TestSilence_BeginIsListenedForWhereverItGoes: the first statement was not sent, and
// BEGIN goes with the second.
func TestSilence_BeginIsListenedForWhereverItGoes(t *testing.T) {
	t.Parallel()
	app := stranded(t, 50*time.Millisecond)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	failed := atOnce(t, 45*time.Second, func(ctx context.Context, _ int) error {
		return app.Sessions.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
			if _, err := tx.ExecContext(over, "select 1"); err == nil {
				t.Error("a statement was sent although its context had ended")
			}
			return touch(ctx, tx)
		})
	})
	if failed > 0 {
		t.Errorf("%d of 20 transactions failed", failed)
	}
}

// TestSilence_TheAnswerToAnOldRollbackProvesNothing: a View was the last to use the
// connection. What its ROLLBACK was answered lies there when the line is gone.
func TestSilence_TheAnswerToAnOldRollbackProvesNothing(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		idle time.Duration
		work func(context.Context, *fxtest.App) error
	}{
		"a session":          {50 * time.Millisecond, func(ctx context.Context, app *fxtest.App) error { return app.Sessions.Run(ctx, touch) }},
		"a session, later":   {1100 * time.Millisecond, func(ctx context.Context, app *fxtest.App) error { return app.Sessions.Run(ctx, touch) }},
		"a bare statement":   {1100 * time.Millisecond, func(ctx context.Context, app *fxtest.App) error { return selectKey(ctx, app.DB) }},
		"a bare transaction": {1100 * time.Millisecond, beginBare},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			app, _, p := proxied(t, func(c *dbfx.Config) { c.PoolSize, c.MaxOverflow = 1, 0 })
			session(t, app.Sessions.View, selectKey)
			time.Sleep(50 * time.Millisecond) // the answer comes
			p.strand()
			time.Sleep(tt.idle)
			ctx, cancel := context.WithTimeout(t.Context(), 45*time.Second)
			defer cancel()
			if err := tt.work(ctx, app); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestSilence_ASlowStatementIsNotSilent: BEGIN is answered at once. A connection that is
// taken for a silent one is given up while the statement runs.
func TestSilence_ASlowStatementIsNotSilent(t *testing.T) {
	t.Parallel()
	app, _, _ := tallyApp(t)
	backend := func() (pid int) {
		if err := app.DB.QueryRowContext(t.Context(), "select pg_backend_pid()").Scan(&pid); err != nil {
			t.Error(err)
		}
		return pid
	}
	before := backend()
	for _, run := range []func(ctx context.Context) error{
		func(ctx context.Context) error {
			_, err := app.DB.ExecContext(ctx, "select pg_sleep(2)")
			return err
		},
		func(ctx context.Context) error {
			return app.Sessions.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
				_, err := tx.ExecContext(ctx, "select pg_sleep(2)")
				return err
			})
		},
		func(ctx context.Context) error {
			return app.Sessions.View(ctx, func(ctx context.Context, tx *dbfx.Session) error {
				return tx.QueryRowContext(ctx, "select 1 from pg_sleep($1)", 2).Scan(new(int))
			})
		},
	} {
		time.Sleep(10 * time.Millisecond)
		if err := run(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if after := backend(); after != before {
		t.Errorf("the connection to %d was given up, and %d serves now", before, after)
	}
}

// TestSilence_APingLeavesTimeForAnotherConnection: the connection that is first in turn is
// silent, those behind it are not, and no new one can be made that would prove it. A ping
// may take longer than the session has.
func TestSilence_APingLeavesTimeForAnotherConnection(t *testing.T) {
	t.Parallel()
	onceOf(t, 3, func() error {
		cfg := fxtest.Postgres(t)
		p := newProxy(t, cfg)
		cfg.Port, cfg.ConnectTimeout = p.port, 5*time.Minute
		db, err := dbfx.Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { p.cut(); _ = db.Close(context.Background()) }()
		var conns []*sql.Conn
		for range 3 {
			conn, err := db.DB().Conn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			conns = append(conns, conn)
		}
		for _, conn := range []*sql.Conn{conns[1], conns[2], conns[0]} { // the last one goes first
			if err := conn.Close(); err != nil {
				return err
			}
		}
		p.deafen()
		time.Sleep(1100 * time.Millisecond) // of idling make them suspect
		ctx, cancel := context.WithTimeout(t.Context(), 1900*time.Millisecond)
		defer cancel()
		return db.Sessions().Run(ctx, touch)
	})
}
