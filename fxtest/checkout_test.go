package fxtest_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

// tight is a pool of one connection and a short patience.
func tight(c *dbfx.Config) {
	c.PoolSize, c.MaxOverflow, c.SQLiteMaxConns = 1, 0, 1
	c.PoolTimeout = 100 * time.Millisecond
}

// hold keeps a writing session open until release is called. On a machine that stands
// still it may time out before it begins.
func hold(t *testing.T, app *fxtest.App) (release func() error) {
	t.Helper()
	leave := make(chan struct{})
	for {
		entered, result := make(chan struct{}), make(chan error, 1)
		go func() {
			result <- app.Sessions.Run(context.Background(), func(ctx context.Context, tx *dbfx.Session) error {
				close(entered)
				select {
				case <-leave:
					return put(ctx, tx, "held", 1)
				case <-ctx.Done():
					return context.Cause(ctx)
				}
			}, dbfx.Name("holder"))
		}()
		select {
		case <-entered:
			return sync.OnceValue(func() error { close(leave); return <-result })
		case err := <-result:
			if !errors.Is(err, dbfx.ErrCheckoutTimeout) {
				t.Fatal(err)
			}
		}
	}
}

func noop(context.Context, *dbfx.Session) error { return nil }

// selectOne asks the server, as noop does not.
func selectOne(ctx context.Context, tx *dbfx.Session) error {
	return tx.QueryRowContext(ctx, "select 1").Scan(new(int))
}

func TestRun_CheckoutTimeoutIsItsOwnError(t *testing.T) {
	eachApp(t, func(t *testing.T, app *fxtest.App) {
		release := hold(t, app)
		err := app.Sessions.Run(t.Context(), noop)
		var timeout *dbfx.CheckoutTimeoutError
		if !errors.As(err, &timeout) || !errors.Is(err, dbfx.ErrCheckoutTimeout) {
			t.Fatalf("got %v, want *CheckoutTimeoutError", err)
		}
		if timeout.Waited < 100*time.Millisecond || !timeout.Timeout() {
			t.Errorf("got %+v", timeout)
		}
		switch app.Config.Dialect() {
		case dbfx.Postgres:
			if timeout.Stats.MaxOpenConnections != 1 || timeout.Stats.InUse != 1 {
				t.Errorf("got %+v", timeout)
			}
		case dbfx.SQLite: // its handle has no limit; what the wait was for has a holder
			if !strings.Contains(err.Error(), `held by session "holder" for `) {
				t.Errorf("got %v, want the holder named", err)
			}
		}
		if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
			t.Error("it matches an error of a context although the caller's has not ended")
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		err = app.Sessions.Run(ctx, noop)
		if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, dbfx.ErrCheckoutTimeout) {
			t.Errorf("got %v, want the caller's deadline", err)
		}
		if err := release(); err != nil {
			t.Error(err)
		}
		if err := freeAgain(t, app); err != nil {
			t.Error(err)
		}
	}, tight)
}

// freeAgain waits until a session gets the connection that another one had.
func freeAgain(t *testing.T, app *fxtest.App) (err error) {
	t.Helper()
	eventually(t, "a session gets the connection", func() bool {
		err = app.Sessions.Run(t.Context(), noop)
		return !errors.Is(err, dbfx.ErrCheckoutTimeout)
	})
	return err
}

func TestRun_ForgottenContextTimesOut(t *testing.T) {
	eachApp(t, func(t *testing.T, app *fxtest.App) {
		err := app.Sessions.Run(t.Context(), func(context.Context, *dbfx.Session) error {
			return app.Sessions.Run(context.Background(), noop) // not the session's context
		})
		wantIs(t, err, dbfx.ErrCheckoutTimeout)
		wantIdle(t, app)
	}, tight)
}

func TestRun_TimeoutsLeakNoConnection(t *testing.T) {
	eachApp(t, func(t *testing.T, app *fxtest.App) {
		var wg sync.WaitGroup
		for range 64 {
			wg.Go(func() {
				for range 20 {
					ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
					_ = app.Sessions.Run(ctx, noop)
					cancel()
				}
			})
		}
		wg.Wait()
		eventually(t, "the dials that database/sql began by itself end in the pool", func() bool { return app.DB.Stats().InUse == 0 })
		if err := app.Sessions.Run(t.Context(), noop); err != nil {
			t.Error(err)
		}
	}, func(c *dbfx.Config) { c.PoolSize, c.MaxOverflow = 4, 0 })
}

func TestPostgres_BlackholedDialIsBounded(t *testing.T) {
	t.Parallel()
	app, _, p := proxied(t, func(c *dbfx.Config) {
		c.PoolTimeout, c.ConnectTimeout, c.PoolSize, c.MaxOverflow = 200*time.Millisecond, 10*time.Minute, 1, 0
	})
	p.blackhole()
	p.cut() // the warm connection
	for range 3 {
		start := time.Now()
		err := app.Sessions.Run(t.Context(), selectOne)
		wantIs(t, err, dbfx.ErrCheckoutTimeout)
		if took := time.Since(start); took > time.Minute {
			t.Errorf("took %s", took)
		}
	}
	wantIdle(t, app)
}

func TestSQLite_CancelEndsTheWaitForAnotherProcess(t *testing.T) {
	t.Parallel()
	cfg := fxtest.SQLite(t)
	cfg.SQLiteBusyTimeout, cfg.PoolTimeout = 10*time.Minute, 10*time.Minute
	app := fxtest.New(t, fxtest.Use(cfg))
	other, err := dbfx.Open(t.Context(), app.Config) // its own queue, as another process
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close(context.Background()) }()
	err = other.Sessions().Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 50*time.Millisecond)
		defer cancel()
		start := time.Now()
		err := app.Sessions.Run(ctx, noop)
		wantIs(t, err, context.DeadlineExceeded)
		if took := time.Since(start); took > time.Minute {
			t.Errorf("the wait went on for %s", took)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	wantIdle(t, app)
	if err := app.Sessions.Run(t.Context(), noop); err != nil {
		t.Error(err)
	}
}

func TestSQLite_BareWriteInsideRunIsBoundedAndSaysWhy(t *testing.T) {
	t.Parallel()
	cfg := fxtest.SQLite(t)
	cfg.SQLiteBusyTimeout = 100 * time.Millisecond
	app := fxtest.New(t, fxtest.Use(cfg))
	if _, err := app.DB.ExecContext(t.Context(), "create table kv (k text, v integer)"); err != nil {
		t.Fatal(err)
	}
	err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
		for name, write := range map[string]func() error{
			"Exec": func() error { return put(ctx, app.DB, "bare", 1) },
			"Returning": func() error {
				return app.DB.QueryRowContext(ctx, "insert into kv values ('bare', 1) returning k").Scan(new(string))
			},
			"With": func() error {
				_, err := app.DB.ExecContext(ctx, "with x as (select 1) update kv set v = 2")
				return err
			},
			"BeginTx": func() error {
				tx, err := app.DB.BeginTx(ctx, nil)
				if err == nil {
					_ = tx.Rollback()
				}
				return err
			},
		} {
			err := write()
			if err == nil || !dbfx.IsRetryable(err) {
				t.Errorf("%s: got %v, want a busy database", name, err)
				continue
			}
			if text := err.Error(); !contains(text, `session "writer"`, "Session", "SQLITE_BUSY_TIMEOUT") {
				t.Errorf("%s: got %q, want the holder and the advice", name, text)
			}
		}
		var n int // a bare read does not wait
		return app.DB.QueryRowContext(ctx, "select count(*) from kv").Scan(&n)
	}, dbfx.Name("writer"))
	if err != nil {
		t.Error(err)
	}
	wantCount(t, app, "%", 0)
}
