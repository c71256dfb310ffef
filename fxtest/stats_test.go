package fxtest_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

// one makes a pool of one connection, whose wait is short.
func one(cfg dbfx.Config) dbfx.Config {
	cfg.PoolSize, cfg.MaxOverflow, cfg.SQLiteMaxConns = 1, 0, 1
	cfg.PoolTimeout = 300 * time.Millisecond
	return cfg
}

// inTime repeats a session until it gets a connection, and returns how many times
// POOL_TIMEOUT ended the wait: the machine may have stood still for so long.
func inTime(run func() error) (late int64, err error) {
	for {
		if err = run(); !errors.Is(err, dbfx.ErrCheckoutTimeout) {
			return late, err
		}
		late++
	}
}

// occupy holds a session until release is called, which returns how many waits for a
// connection ran out before.
func occupy(t *testing.T, app *fxtest.App, name string) (release func() (late int64)) {
	t.Helper()
	begun, end, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	var late int64
	go func() {
		var err error
		late, err = inTime(func() error {
			return app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
				_, err := tx.ExecContext(ctx, "select 1")
				close(begun)
				<-end
				return err
			}, dbfx.Name(name))
		})
		done <- err
	}()
	select {
	case <-begun:
	case err := <-done:
		t.Fatal(err)
	}
	return func() int64 {
		close(end)
		if err := <-done; err != nil {
			t.Error(err)
		}
		return late
	}
}

// eventually waits until a condition holds; the test's own deadline bounds it.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(2 * time.Minute)
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("it did not happen: ", what)
		}
	}
}

func TestStats_CountTheQueueAndATimeoutCarriesItsWait(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		r := &recorder{}
		app := fxtest.New(t, fxtest.Use(one(cfg)), observe(r))
		before := app.Sessions.Stats()
		release := occupy(t, app, "holder")
		told, failed := make(chan struct{}), make(chan int64, 1)
		go func() { // one waits after the other, so that one is seen
			for n := int64(1); ; n++ {
				err := app.Sessions.Run(t.Context(), func(context.Context, *dbfx.Session) error { return nil }, dbfx.Name("waiter"))
				if !errors.Is(err, dbfx.ErrCheckoutTimeout) {
					t.Error("the waiter:", err)
				}
				select {
				case <-told:
					failed <- n
					return
				default:
				}
			}
		}()
		eventually(t, "one waits and one runs", func() bool {
			s := app.Sessions.Stats()
			return s.Waiting == 1 && s.Running == 1 && s.Oldest.Name == "holder"
		})
		close(told)
		timeouts := <-failed
		timeouts += release()
		late, err := inTime(func() error {
			return app.Sessions.View(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
				_, err := tx.ExecContext(ctx, "select 1")
				return err
			})
		})
		if err != nil {
			t.Fatal(err)
		}
		timeouts += late
		late, err = inTime(func() error {
			return app.Sessions.Run(t.Context(), func(context.Context, *dbfx.Session) error { return errBoom })
		})
		wantIs(t, err, errBoom)
		timeouts += late

		s := app.Sessions.Stats()
		if s.Timeouts != timeouts || s.Committed-before.Committed != 1 || s.Read != 1 || s.RolledBack != 1+timeouts || s.Unknown != 0 {
			t.Errorf("%d timeouts: got %+v", timeouts, s)
		}
		if got := s.Waits.Count - before.Waits.Count; got != 3+timeouts || s.Waits.Sum < time.Duration(timeouts)*300*time.Millisecond {
			t.Errorf("%d waits of %s, want 3 and %d that timed out", got, s.Waits.Sum, timeouts)
		}
		if s.Uses.Count-before.Uses.Count != 3 || s.Waiting != 0 || s.Running != 0 || s.LastCheckout.IsZero() {
			t.Errorf("got %+v", s)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, e := range r.sessions {
			if e.Name == "waiter" && (e.Wait < 300*time.Millisecond || e.Class != "pool full" || e.Held != 0) {
				t.Errorf("the session that timed out: %+v", e)
			}
			if e.Name == "holder" && e.Err == nil && (e.Held <= 0 || e.Role != dbfx.RoleMain || e.Statements == 0) {
				t.Errorf("the session that held: %+v", e)
			}
		}
	})
}

func TestRunning_ShowsWhoRunsWhatAndFromWhere(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		app := fxtest.New(t, fxtest.Use(cfg))
		if got := app.Sessions.Running(); len(got) != 0 {
			t.Fatalf("got %+v before the first session", got)
		}
		_, err := dbfx.ViewValue(t.Context(), app.Sessions, func(ctx context.Context, tx *dbfx.Session) (int, error) {
			rows, err := tx.QueryContext(ctx, "select 'hunter2' as secret union select 'x'")
			if err != nil {
				return 0, err
			}
			defer func() { _ = rows.Close() }()
			rows.Next()
			list := app.Sessions.Running()
			if len(list) != 1 {
				t.Fatalf("got %+v", list)
			}
			r := list[0]
			if r.Name != "look" || !r.ReadOnly || r.Waiting || r.Attempt != 1 || r.Since.IsZero() || r.Held <= 0 || r.StatementAge <= 0 {
				t.Errorf("got %+v", r)
			}
			if r.Statement != "select ? as secret union select ?" {
				t.Errorf("got the statement %q", r.Statement)
			}
			if !strings.HasPrefix(r.Caller, "stats_test.go:") || !strings.Contains(r.Caller, "TestRunning_ShowsWhoRunsWhatAndFromWhere") {
				t.Errorf("got the caller %q", r.Caller)
			}
			if (r.Backend != 0) != (cfg.Dialect() == dbfx.Postgres) {
				t.Errorf("got the process %d", r.Backend)
			}
			return 0, rows.Close()
		}, dbfx.Name("look"))
		if err != nil {
			t.Fatal(err)
		}
		if got := app.Sessions.Running(); len(got) != 0 {
			t.Errorf("got %+v after the last session", got)
		}
	})
}

func TestRunning_IsSafeBesideManySessions(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		app := fxtest.New(t, fxtest.Use(cfg))
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range 200 {
				_ = app.Sessions.View(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
					var n int
					return tx.QueryRowContext(ctx, "select 1").Scan(&n)
				})
			}
		}()
		for {
			select {
			case <-done:
				return
			default:
				app.Sessions.Running()
				app.Sessions.Stats()
			}
		}
	})
}
