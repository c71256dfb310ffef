package fxtest_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

// eachApp runs fn on both engines, with the table kv(k text primary key, v int).
func eachApp(t *testing.T, fn func(t *testing.T, app *fxtest.App), change ...func(*dbfx.Config)) {
	t.Helper()
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		for _, f := range change {
			f(&cfg)
		}
		app := fxtest.New(t, fxtest.Use(cfg))
		if _, err := app.DB.ExecContext(t.Context(), "create table kv (k text primary key, v integer not null check (v >= 0))"); err != nil {
			t.Fatal(err)
		}
		fn(t, app)
	})
}

func put(ctx context.Context, db dbfx.DBTX, k string, v int) error {
	_, err := db.ExecContext(ctx, "insert into kv (k, v) values ($1, $2)", k, v)
	return err
}

// count returns how many rows of kv have a key like pattern.
func count(t *testing.T, app *fxtest.App, pattern string) int {
	t.Helper()
	var n int
	err := app.DB.QueryRowContext(context.Background(), "select count(*) from kv where k like $1", pattern).Scan(&n)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func wantCount(t *testing.T, app *fxtest.App, pattern string, want int) {
	t.Helper()
	if got := count(t, app, pattern); got != want {
		t.Errorf("rows like %q: got %d, want %d", pattern, got, want)
	}
}

// wantIdle waits until no connection is in use: a check of Health's own may have
// one for a moment.
func wantIdle(t *testing.T, app *fxtest.App) {
	t.Helper()
	for until := time.Now().Add(time.Minute); app.DB.Stats().InUse != 0; time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			t.Errorf("connections in use: got %d, want 0", app.DB.Stats().InUse)
			return
		}
	}
}

func table(app *fxtest.App) (map[string]int, error) {
	return dbfx.ViewValue(context.Background(), app.Sessions, func(ctx context.Context, tx *dbfx.Session) (map[string]int, error) {
		rows, err := tx.QueryContext(ctx, "select k, v from kv")
		if err != nil {
			return nil, err
		}
		defer func() { _ = rows.Close() }()
		got := map[string]int{}
		for rows.Next() {
			var k string
			var v int
			if err := rows.Scan(&k, &v); err != nil {
				return nil, fmt.Errorf("scan: %w", err)
			}
			got[k] = v
		}
		return got, rows.Err()
	})
}

func wantIs(t *testing.T, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Errorf("got error %v, want %v", err, target)
	}
}

var errBoom = errors.New("boom")

func TestRun_CommitsOnNilAndRollsBackOnError(t *testing.T) {
	eachApp(t, func(t *testing.T, app *fxtest.App) {
		ctx := t.Context()
		if err := app.Sessions.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error { return put(ctx, tx, "a", 1) }); err != nil {
			t.Fatal(err)
		}
		err := app.Sessions.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
			if err := put(ctx, tx, "b", 1); err != nil {
				return err
			}
			return errBoom
		})
		if err != errBoom { //nolint:errorlint // unchanged, not wrapped
			t.Errorf("got %v, want fn's error unchanged", err)
		}
		wantCount(t, app, "%", 1)
		wantIdle(t, app)
	})
}

func TestRun_RollsBackAndRepanics(t *testing.T) {
	eachApp(t, func(t *testing.T, app *fxtest.App) {
		for _, value := range []any{"text", errBoom} {
			func() {
				defer func() {
					if got := recover(); got != value {
						t.Errorf("recovered %v, want %v", got, value)
					}
				}()
				_ = app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
					if err := put(ctx, tx, "a", 1); err != nil {
						t.Error(err)
					}
					panic(value)
				})
			}()
		}
		wantCount(t, app, "%", 0)
		wantIdle(t, app)
	})
}

func TestRun_RollsBackOnGoexit(t *testing.T) {
	eachApp(t, func(t *testing.T, app *fxtest.App) {
		for _, nested := range []bool{false, true} {
			done := make(chan struct{})
			go func() {
				defer close(done)
				_ = app.Sessions.Run(context.Background(), func(ctx context.Context, tx *dbfx.Session) error {
					if err := put(ctx, tx, "a", 1); err != nil {
						t.Error(err)
					}
					exit := func(ctx context.Context, tx *dbfx.Session) error { runtime.Goexit(); return nil }
					if nested {
						return app.Sessions.Run(ctx, exit)
					}
					return exit(ctx, tx)
				})
			}()
			<-done
		}
		wantCount(t, app, "%", 0)
		wantIdle(t, app)
	})
}

func TestRun_NestsBySavepoint(t *testing.T) {
	eachApp(t, func(t *testing.T, app *fxtest.App) {
		s := app.Sessions
		err := s.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
			if err := put(ctx, tx, "outer", 1); err != nil {
				return err
			}
			err := s.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
				if err := put(ctx, tx, "lost", 1); err != nil {
					return err
				}
				return put(ctx, tx, "outer", 2) // a duplicate
			})
			if !dbfx.IsUniqueViolation(err) {
				t.Errorf("got %v, want a unique violation", err)
			}
			func() {
				defer func() { _ = recover() }()
				_ = s.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
					if err := put(ctx, tx, "panicked", 1); err != nil {
						t.Error(err)
					}
					panic("boom")
				})
			}()
			return s.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
				return s.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error { return put(ctx, tx, "third", 3) })
			})
		})
		if err != nil {
			t.Fatal(err)
		}
		wantCount(t, app, "%", 2)
		wantCount(t, app, "third", 1)
	})
}

func TestView_RefusesWrites(t *testing.T) {
	eachApp(t, func(t *testing.T, app *fxtest.App) {
		s, ctx := app.Sessions, t.Context()
		write := func(ctx context.Context, tx *dbfx.Session) error { return put(ctx, tx, "a", 1) }
		if err := s.View(ctx, write); err == nil {
			t.Error("a write in View succeeded")
		}
		err := s.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
			if err := s.View(ctx, write); err == nil {
				t.Error("a write in a nested View succeeded")
			}
			return put(ctx, tx, "after", 1)
		})
		if err != nil {
			t.Fatal(err)
		}
		err = s.View(ctx, func(ctx context.Context, tx *dbfx.Session) error {
			wantIs(t, s.Run(ctx, write), dbfx.ErrReadOnly)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		wantCount(t, app, "%", 1)
	})
}

func TestRun_ReturnsTheCauseOfACancelThatFnIgnored(t *testing.T) {
	eachApp(t, func(t *testing.T, app *fxtest.App) {
		ctx, cancel := context.WithCancelCause(t.Context())
		err := app.Sessions.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
			if err := put(ctx, tx, "a", 1); err != nil {
				return err
			}
			cancel(errBoom)
			return nil
		})
		wantIs(t, err, errBoom)
		wantCount(t, app, "%", 0)
		calls := 0
		err = app.Sessions.Run(ctx, func(context.Context, *dbfx.Session) error { calls++; return nil })
		wantIs(t, err, errBoom)
		if calls != 0 {
			t.Error("fn ran although ctx was done")
		}
	})
}

func TestRun_SwallowedStatementErrorDoomsTheScope(t *testing.T) {
	eachApp(t, func(t *testing.T, app *fxtest.App) {
		err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
			if err := put(ctx, tx, "a", 1); err != nil {
				return err
			}
			if err := put(ctx, tx, "a", 2); !dbfx.IsUniqueViolation(err) {
				t.Errorf("got %v, want a unique violation", err)
			}
			wantIs(t, put(ctx, tx, "b", 1), dbfx.ErrRolledBack)
			wantIs(t, tx.QueryRowContext(ctx, "select 1").Scan(new(int)), dbfx.ErrRolledBack)
			return nil
		})
		var rolledBack *dbfx.RolledBackError
		if !errors.As(err, &rolledBack) || !dbfx.IsUniqueViolation(rolledBack.Err) {
			t.Errorf("got %v, want a *RolledBackError with the first failure", err)
		}
		wantCount(t, app, "%", 0)
	})
}

func TestSession_IsDoneAfterItsEnd(t *testing.T) {
	eachApp(t, func(t *testing.T, app *fxtest.App) {
		var kept *dbfx.Session
		var leaked context.Context
		if err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
			kept, leaked = tx, ctx
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		fresh := context.WithoutCancel(leaked)
		wantIs(t, put(fresh, kept, "a", 1), dbfx.ErrSessionDone)
		wantIs(t, put(fresh, app.Sessions.DB(fresh), "a", 1), dbfx.ErrSessionDone)
		wantIs(t, kept.QueryRowContext(fresh, "select 1").Scan(new(int)), dbfx.ErrSessionDone)
		_, err := kept.PrepareContext(fresh, "select 1")
		wantIs(t, err, dbfx.ErrSessionDone)
		wantIs(t, app.Sessions.Run(fresh, func(context.Context, *dbfx.Session) error { return nil }), dbfx.ErrSessionDone)
		if err := put(fresh, app.Sessions.DB(app.Sessions.Detach(fresh)), "a", 1); err != nil {
			t.Error(err)
		}
	})
}

func TestSession_TransactionControlBelongsToRun(t *testing.T) {
	eachApp(t, func(t *testing.T, app *fxtest.App) {
		tests := map[string]func(context.Context, *dbfx.Session){
			"Commit":   func(_ context.Context, tx *dbfx.Session) { _ = tx.SQLTx().Commit() },
			"Rollback": func(_ context.Context, tx *dbfx.Session) { _ = tx.SQLTx().Rollback() },
			"SQL": func(ctx context.Context, tx *dbfx.Session) {
				_, _ = tx.SQLTx().ExecContext(ctx, " /* x */ commit")
			},
		}
		for name, end := range tests {
			err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
				if err := put(ctx, tx, name, 1); err != nil {
					return err
				}
				end(ctx, tx)
				return errBoom
			})
			if err == nil {
				t.Errorf("%s: Run returned nil", name)
			}
		}
		wantCount(t, app, "%", 0)
		err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
			_ = tx.SQLTx().Commit()
			return nil
		})
		wantIs(t, err, dbfx.ErrRolledBack)
		wantIdle(t, app)
	})
}

func TestRun_IsolationIsHonouredOrRefused(t *testing.T) {
	eachApp(t, func(t *testing.T, app *fxtest.App) {
		s := app.Sessions
		noop := func(context.Context, *dbfx.Session) error { return nil }
		if err := s.Run(t.Context(), noop, dbfx.Isolation(sql.LevelSerializable)); err != nil {
			t.Error(err)
		}
		wantIs(t, s.Run(t.Context(), noop, dbfx.Isolation(sql.LevelLinearizable)), dbfx.ErrOptions)
		err := s.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
			wantIs(t, s.Run(ctx, noop, dbfx.Isolation(sql.LevelSerializable)), dbfx.ErrOptions)
			wantIs(t, s.Run(ctx, noop, dbfx.Retry(dbfx.RetryPolicy{})), dbfx.ErrOptions)
			wantIs(t, s.Run(ctx, noop, dbfx.Durable()), dbfx.ErrDurable)
			return put(ctx, tx, "a", 1)
		})
		if err != nil {
			t.Error(err)
		}
	})
}

func TestRun_OuterErrorUndoesWhatNestedScopesKept(t *testing.T) {
	eachApp(t, func(t *testing.T, app *fxtest.App) {
		s := app.Sessions
		err := s.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
			err := s.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
				if err := put(ctx, tx, "second", 1); err != nil {
					return err
				}
				return s.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error { return put(ctx, tx, "third", 1) })
			})
			if err != nil {
				return err
			}
			return errBoom
		})
		wantIs(t, err, errBoom)
		wantCount(t, app, "%", 0)
	})
}

func TestRun_OfTwoGoroutinesThatNestOneIsTold(t *testing.T) {
	eachApp(t, func(t *testing.T, app *fxtest.App) {
		s := app.Sessions
		err := s.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
			inside, leave := make(chan struct{}), make(chan struct{})
			first := make(chan error, 1)
			go func() {
				first <- s.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
					close(inside)
					<-leave
					return put(ctx, tx, "first", 1)
				})
			}()
			<-inside
			second := make(chan error, 1)
			go func() { second <- s.Run(ctx, func(context.Context, *dbfx.Session) error { return nil }) }()
			wantIs(t, <-second, dbfx.ErrSessionBusy)
			close(leave)
			return <-first
		})
		if err != nil {
			t.Error(err)
		}
		wantCount(t, app, "%", 1)
	})
}
