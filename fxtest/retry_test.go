package fxtest_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/fx"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

// contains reports whether text has each part.
func contains(text string, parts ...string) bool {
	return !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(text, p) })
}

func TestRetry_SerializableCounterIsExact(t *testing.T) {
	eachApp(t, func(t *testing.T, app *fxtest.App) {
		if err := put(t.Context(), app.DB, "n", 0); err != nil {
			t.Fatal(err)
		}
		const workers, each = 8, 20
		var wg sync.WaitGroup
		for range workers {
			wg.Go(func() {
				for range each {
					err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
						var n int
						if err := tx.QueryRowContext(ctx, "select v from kv where k = 'n'").Scan(&n); err != nil {
							return fmt.Errorf("opaque: %v", err) //nolint:errorlint // hides it on purpose
						}
						_, err := tx.ExecContext(ctx, "update kv set v = $1 where k = 'n'", n+1)
						if err != nil {
							return fmt.Errorf("opaque: %v", err) //nolint:errorlint // hides it on purpose
						}
						return nil
					}, dbfx.Isolation(sql.LevelSerializable), dbfx.Retry(dbfx.RetryPolicy{MaxAttempts: 1000, Max: 20 * time.Millisecond}))
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		var n int
		if err := app.DB.QueryRowContext(t.Context(), "select v from kv where k = 'n'").Scan(&n); err != nil || n != workers*each {
			t.Errorf("got %d, %v, want %d", n, err, workers*each)
		}
	})
}

func TestRetry_DeadlockPairBothSucceed(t *testing.T) {
	eachApp(t, func(t *testing.T, app *fxtest.App) {
		for _, k := range []string{"a", "b"} {
			if err := put(t.Context(), app.DB, k, 0); err != nil {
				t.Fatal(err)
			}
		}
		var wg sync.WaitGroup
		for _, order := range [][]string{{"a", "b"}, {"b", "a"}} {
			wg.Go(func() {
				for range 10 {
					err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
						for _, k := range order {
							if _, err := tx.ExecContext(ctx, "update kv set v = v + 1 where k = $1", k); err != nil {
								return err
							}
						}
						return nil
					}, dbfx.Retry(dbfx.RetryPolicy{MaxAttempts: 100}))
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		var n int
		if err := app.DB.QueryRowContext(t.Context(), "select sum(v) from kv").Scan(&n); err != nil || n != 40 {
			t.Errorf("got %d, %v, want 40", n, err)
		}
	})
}

func TestRetry_KeepsToItsPolicy(t *testing.T) {
	eachApp(t, func(t *testing.T, app *fxtest.App) {
		errAgain := errors.New("again")
		policy := dbfx.RetryPolicy{MaxAttempts: 3, Base: time.Millisecond, Retryable: func(err error) bool { return errors.Is(err, errAgain) }}
		var attempts []int
		err := app.Sessions.Run(t.Context(), func(_ context.Context, tx *dbfx.Session) error {
			attempts = append(attempts, tx.Attempt())
			return errAgain
		}, dbfx.Retry(policy))
		if err != errAgain || !slices.Equal(attempts, []int{1, 2, 3}) { //nolint:errorlint // unchanged
			t.Errorf("got %v after attempts %v", err, attempts)
		}
		calls := 0
		fail := func(context.Context, *dbfx.Session) error { calls++; return errBoom }
		if err := app.Sessions.Run(t.Context(), fail, dbfx.Retry(policy)); err != errBoom || calls != 1 { //nolint:errorlint // unchanged
			t.Errorf("got %v after %d calls, want one", err, calls)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		slow := policy
		slow.MaxAttempts, slow.Base, slow.Max = 1000, 100_000*time.Hour, 100_000*time.Hour // it is a random part of that
		inUse := -1
		slow.Retryable = func(error) bool { inUse = app.DB.Stats().InUse; return true }
		if err := app.Sessions.Run(ctx, fail, dbfx.Retry(slow)); err != errBoom { //nolint:errorlint // unchanged
			t.Errorf("got %v, want the last error and no sleep past the deadline", err)
		}
		if inUse != 0 {
			t.Errorf("%d connections are held between attempts", inUse)
		}
	})
}

func TestRunValue_IsZeroUnlessCommitted(t *testing.T) {
	eachApp(t, func(t *testing.T, app *fxtest.App) {
		ctx := t.Context()
		n, err := dbfx.RunValue(ctx, app.Sessions, func(ctx context.Context, tx *dbfx.Session) (int, error) { return 7, put(ctx, tx, "a", 1) })
		if n != 7 || err != nil {
			t.Errorf("got %d, %v", n, err)
		}
		n, err = dbfx.RunValue(ctx, app.Sessions, func(ctx context.Context, tx *dbfx.Session) (int, error) {
			_ = put(ctx, tx, "a", 1) // swallowed
			return 7, nil
		})
		if n != 0 || !errors.Is(err, dbfx.ErrRolledBack) {
			t.Errorf("got %d, %v", n, err)
		}
		n, err = dbfx.ViewValue(ctx, app.Sessions, func(ctx context.Context, tx *dbfx.Session) (n int, err error) {
			return n, tx.QueryRowContext(ctx, "select v from kv").Scan(&n)
		})
		if err != nil {
			t.Error(err)
		}
		_ = n
	})
}

func TestAfterCommit_RunsOnceInOrderAndOnlyForWhatWasCommitted(t *testing.T) {
	eachApp(t, func(t *testing.T, app *fxtest.App) {
		s := app.Sessions
		var got []string
		hook := func(name string) func(context.Context) { return func(context.Context) { got = append(got, name) } }
		again := errors.New("again")
		err := s.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
			tx.AfterCommit(hook("first"))
			_ = s.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error { tx.AfterCommit(hook("undone")); return errBoom })
			for _, opt := range []dbfx.SessionOption{dbfx.Name("savepoint"), dbfx.Join()} {
				err := s.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error { tx.AfterCommit(hook("nested")); return nil }, opt)
				if err != nil {
					return err
				}
			}
			tx.AfterCommit(func(ctx context.Context) {
				got = append(got, "session")
				if s.FromContext(ctx) != nil {
					t.Error("the hook's context has the session")
				}
				if err := s.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error { return put(ctx, tx, "hook", 1) }); err != nil {
					t.Error("the connection is not back in the pool:", err)
				}
			})
			if tx.Attempt() < 3 {
				return again
			}
			return put(ctx, tx, "a", 1)
		}, dbfx.Retry(dbfx.RetryPolicy{Retryable: func(err error) bool { return errors.Is(err, again) }, Base: time.Millisecond}))
		if err != nil {
			t.Fatal(err)
		}
		if want := []string{"first", "nested", "nested", "session"}; !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		got = nil
		_ = s.View(t.Context(), func(_ context.Context, tx *dbfx.Session) error { tx.AfterCommit(hook("view")); return nil })
		func() {
			defer func() {
				if value := recover(); value != "boom" {
					t.Errorf("recovered %v, want the hook's panic unchanged", value)
				}
			}()
			_ = s.Run(t.Context(), func(_ context.Context, tx *dbfx.Session) error {
				tx.AfterCommit(func(context.Context) { panic("boom") })
				tx.AfterCommit(hook("rest"))
				return nil
			})
		}()
		if want := []string{"rest"}; !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		wantCount(t, app, "%", 2)
	}, tight, func(c *dbfx.Config) { c.PoolTimeout = time.Minute })
}

// recorder is an observer that keeps what it is told.
type recorder struct {
	mu         sync.Mutex
	statements []dbfx.StatementEvent
	sessions   []dbfx.SessionEvent
	values     []any
}

type traceKey struct{}

func (r *recorder) ObserveStatement(ctx context.Context, e dbfx.StatementEvent) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.statements = append(r.statements, e)
	r.values = append(r.values, ctx.Value(traceKey{}))
}

func (r *recorder) ObserveSession(_ context.Context, e dbfx.SessionEvent) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sessions = append(r.sessions, e)
}

func TestObserver_IsToldEveryStatementWithTheCallersValues(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		r := &recorder{}
		app := fxtest.New(t, fxtest.Use(cfg), fx.Provide(fx.Annotate(
			func() *recorder { return r }, fx.As(new(dbfx.Observer)), fx.ResultTags(`group:"dbfx.observers"`))))
		if _, err := app.DB.ExecContext(t.Context(), "create table kv (k text primary key, v integer)"); err != nil {
			t.Fatal(err)
		}
		r.statements, r.values = nil, nil
		ctx := context.WithValue(t.Context(), traceKey{}, "trace-1")
		err := app.Sessions.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
			if err := put(ctx, tx, "secret-value", 1); err != nil {
				return err
			}
			rows, err := tx.QueryContext(ctx, "select k from kv")
			if err != nil {
				return err
			}
			for rows.Next() {
			}
			return rows.Close()
		}, dbfx.Name("test"))
		if err != nil {
			t.Fatal(err)
		}
		_ = app.Sessions.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
			return errors.Join(tx.QueryRowContext(ctx, "select 1").Scan(new(int)), errBoom)
		})
		var sqls []string
		for i, e := range r.statements {
			sqls = append(sqls, strings.Fields(e.SQL)[0])
			if r.values[i] != "trace-1" {
				t.Errorf("%s: the context has lost its values", e.SQL)
			}
			if e.Args != nil || e.Dialect != cfg.Dialect() {
				t.Errorf("got %+v", e)
			}
		}
		if want := []string{"BEGIN", "insert", "select", "COMMIT", "BEGIN", "select", "ROLLBACK"}; !slices.Equal(sqls, want) {
			t.Errorf("got %v, want %v", sqls, want)
		}
		if len(r.statements) == 7 && (r.statements[1].Rows != 1 || r.statements[2].Rows != 1) {
			t.Errorf("rows: got %+v", r.statements)
		}
		if len(r.sessions) != 2 || r.sessions[0].Outcome != dbfx.OutcomeCommitted || r.sessions[0].Name != "test" ||
			r.sessions[0].Attempts != 1 || r.sessions[1].Outcome != dbfx.OutcomeRolledBack {
			t.Errorf("got %+v", r.sessions)
		}
	})
}

// TestPostgres_SerializationFailureIsDefinite: two sessions read what the other
// writes, so one of them must fail, at a statement or at COMMIT.
func TestPostgres_SerializationFailureIsDefinite(t *testing.T) {
	t.Parallel()
	app := fxtest.New(t, fxtest.Use(fxtest.Postgres(t)))
	if _, err := app.DB.ExecContext(t.Context(), "create table kv (k text primary key, v integer)"); err != nil {
		t.Fatal(err)
	}
	for _, retry := range []bool{false, true} {
		prefix := fmt.Sprint(retry)
		var opts []dbfx.SessionOption
		if retry {
			opts = append(opts, dbfx.Retry(dbfx.RetryPolicy{MaxAttempts: 20}))
		}
		opts = append(opts, dbfx.Isolation(sql.LevelSerializable))
		var both, wg sync.WaitGroup
		both.Add(2)
		errs := make([]error, 2)
		for i := range errs {
			wg.Go(func() {
				errs[i] = app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
					if err := tx.QueryRowContext(ctx, "select count(*) from kv").Scan(new(int)); err != nil {
						return err
					}
					if tx.Attempt() == 1 {
						both.Done()
						both.Wait() // both have read before either writes
					}
					return put(ctx, tx, fmt.Sprint(prefix, i), 1)
				}, opts...)
			})
		}
		wg.Wait()
		failed := 0
		for i, err := range errs {
			if err != nil {
				failed++
				if !dbfx.IsRetryable(err) || errors.Is(err, dbfx.ErrCommitUnknown) {
					t.Errorf("got %v, want a definite serialization failure", err)
				}
			}
			wantCount(t, app, fmt.Sprint(prefix, i), map[bool]int{true: 1, false: 0}[err == nil])
		}
		if want := map[bool]int{false: 1, true: 0}[retry]; failed != want {
			t.Errorf("with Retry %t: %d failed, want %d", retry, failed, want)
		}
	}
}
