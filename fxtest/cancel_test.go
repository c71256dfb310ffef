package fxtest_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

// endless is a query that only an interrupt ends.
func endless(cfg dbfx.Config) string {
	if cfg.Dialect() == dbfx.Postgres {
		return "select count(*) from pg_sleep(600)"
	}
	return "with recursive n(i) as (select 1 union all select i + 1 from n) select max(i) from n"
}

// endlessWrite is one that writes.
func endlessWrite(cfg dbfx.Config) string {
	if cfg.Dialect() == dbfx.Postgres {
		return "insert into kv select 'endless', 1 from pg_sleep(600)"
	}
	return "insert into kv with recursive n(i) as (select 1 union all select i + 1 from n) select 'endless', max(i) from n"
}

func TestRun_CancelNeverLiesAboutTheCommit(t *testing.T) {
	eachApp(t, func(t *testing.T, app *fxtest.App) {
		const rounds, workers = 2000, 4
		var mu sync.Mutex
		committed := map[string]bool{}
		var wg sync.WaitGroup
		for w := range workers {
			wg.Go(func() {
				for i := range rounds / workers {
					key := fmt.Sprintf("%d-%d", w, i)
					ctx, cancel := context.WithCancel(context.Background())
					after := func(most time.Duration) { time.AfterFunc(rand.N(most), cancel) }
					if i%4 == 0 { // anywhere
						after(2 * time.Millisecond)
					}
					err := app.Sessions.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
						err := put(ctx, tx, key, 1)
						if i%4 != 0 { // around COMMIT
							after(200 * time.Microsecond)
						}
						return err
					})
					cancel()
					if errors.Is(err, dbfx.ErrCommitUnknown) {
						t.Errorf("%s: unknown without a fault: %v", key, err)
					}
					mu.Lock()
					committed[key] = err == nil
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		lies, yes := 0, 0
		for key, want := range committed {
			if want {
				yes++
			}
			if (count(t, app, key) == 1) != want {
				lies++
			}
		}
		t.Logf("%d rounds, %d committed, %d lies", len(committed), yes, lies)
		if yes == 0 || yes == rounds {
			t.Errorf("the cancel never raced the commit: %d of %d committed", yes, rounds)
		}
		if lies > 0 {
			t.Errorf("%d of %d results were lies", lies, rounds)
		}
		wantIdle(t, app)
	})
}

func TestRun_CommitsStayBesideRollbacks(t *testing.T) {
	eachApp(t, func(t *testing.T, app *fxtest.App) {
		const n = 200
		var wg sync.WaitGroup
		for i := range 2 * n {
			wg.Go(func() {
				err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
					if err := put(ctx, tx, fmt.Sprint(i), 1); err != nil {
						return err
					}
					if i%2 == 1 {
						return errBoom
					}
					return nil
				})
				if i%2 == 0 && err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		wantCount(t, app, "%", n)
	}, func(c *dbfx.Config) { c.PoolTimeout = 5 * time.Minute })
}

func TestRun_CancelBetweenStatementsKeepsTheConnection(t *testing.T) {
	t.Parallel()
	app := fxtest.New(t, fxtest.Use(fxtest.Postgres(t)))
	pid := func(ctx context.Context, db dbfx.DBTX) (pid int) {
		if err := db.QueryRowContext(ctx, "select pg_backend_pid()").Scan(&pid); err != nil {
			t.Error(err)
		}
		return pid
	}
	var first int
	ctx, cancel := context.WithCancel(t.Context())
	err := app.Sessions.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
		first = pid(ctx, tx)
		cancel()
		return nil
	})
	wantIs(t, err, context.Canceled)
	if second := pid(t.Context(), app.DB); second != first {
		t.Errorf("backend %d was replaced by %d", first, second)
	}
}

func TestRun_CancelDuringAStatementEndsItPromptly(t *testing.T) {
	eachApp(t, func(t *testing.T, app *fxtest.App) {
		for _, query := range []string{endless(app.Config), endlessWrite(app.Config)} {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			start := time.Now()
			err := app.Sessions.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
				_, err := tx.ExecContext(ctx, query)
				return err
			})
			cancel()
			wantIs(t, err, context.DeadlineExceeded)
			if took := time.Since(start); took > time.Minute { // of ten, or for ever
				t.Errorf("the statement ran on for %s", took)
			}
		}
		wantIdle(t, app)
		if err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error { return put(ctx, tx, "a", 1) }); err != nil {
			t.Error(err)
		}
		wantCount(t, app, "%", 1)
	})
}

func TestRun_StatementThatOutlivesFnIsEndedAndTold(t *testing.T) {
	eachApp(t, func(t *testing.T, app *fxtest.App) {
		contexts := map[string]func(context.Context) context.Context{
			"SessionContext": func(ctx context.Context) context.Context { return ctx },
			"Background":     func(context.Context) context.Context { return context.Background() },
		}
		for name, pick := range contexts {
			var wg sync.WaitGroup
			err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
				wg.Go(func() { _, _ = tx.ExecContext(pick(ctx), endless(app.Config)) })
				eventually(t, "the statement runs", func() bool { return app.Sessions.Running()[0].Statement != "" })
				return nil
			})
			if !errors.Is(err, dbfx.ErrSessionBusy) {
				t.Errorf("%s: got %v, want ErrSessionBusy", name, err)
			}
			wg.Wait()
		}
		wantIdle(t, app)
	})
}

func TestRun_ConcurrentUseIsTold(t *testing.T) {
	eachApp(t, func(t *testing.T, app *fxtest.App) {
		s := app.Sessions
		err := s.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
			return s.Run(ctx, func(inner context.Context, nested *dbfx.Session) error {
				wantIs(t, put(ctx, tx, "outer", 1), dbfx.ErrSessionBusy)
				wantIs(t, s.Run(ctx, func(context.Context, *dbfx.Session) error { return nil }), dbfx.ErrSessionBusy)
				return put(inner, nested, "inner", 1)
			})
		})
		if err != nil {
			t.Error(err)
		}
		wantCount(t, app, "%", 1)
	})
}

func TestRun_JoinDoomsTheOuterScope(t *testing.T) {
	eachApp(t, func(t *testing.T, app *fxtest.App) {
		s := app.Sessions
		fail := func(ctx context.Context, tx *dbfx.Session) error { return errBoom }
		err := s.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
			if err := put(ctx, tx, "a", 1); err != nil {
				return err
			}
			_ = s.Run(ctx, fail, dbfx.Join())
			return nil
		})
		wantIs(t, err, dbfx.ErrRolledBack)
		wantIs(t, err, errBoom)
		err = s.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
			err := s.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
				func() {
					defer func() { _ = recover() }()
					_ = s.Run(ctx, func(context.Context, *dbfx.Session) error { panic("boom") }, dbfx.Join())
				}()
				return nil
			})
			wantIs(t, err, dbfx.ErrRolledBack)
			ok := func(ctx context.Context, tx *dbfx.Session) error { return put(ctx, tx, "kept", 1) }
			return s.Run(ctx, ok, dbfx.Join())
		})
		if err != nil {
			t.Error(err)
		}
		wantCount(t, app, "%", 1)
	})
}

func TestRun_ManyFailingScopesLeaveNoSavepoint(t *testing.T) {
	eachApp(t, func(t *testing.T, app *fxtest.App) {
		s := app.Sessions
		err := s.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
			for range 100 {
				wantIs(t, s.Run(ctx, func(context.Context, *dbfx.Session) error { return errBoom }), errBoom)
			}
			err := s.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
				_, err := tx.ExecContext(ctx, "release dbfx_1; release dbfx_1") // only its own is there
				return err
			})
			if err == nil {
				t.Error("a savepoint was left behind")
			}
			return nil
		})
		// Releasing our savepoint by hand leaves nothing to go back to.
		wantIs(t, err, dbfx.ErrRolledBack)
	})
}

func TestRun_LeakedRowsDoNotStopTheCommit(t *testing.T) {
	eachApp(t, func(t *testing.T, app *fxtest.App) {
		for i := range 50 {
			err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
				if err := put(ctx, tx, fmt.Sprint(i), 1); err != nil {
					return err
				}
				if i%2 == 0 {
					_ = tx.QueryRowContext(ctx, "select k from kv")
					return nil
				}
				_, err := tx.QueryContext(ctx, "select k from kv") //nolint:sqlclosecheck,rowserrcheck // the leak is the test
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		wantCount(t, app, "%", 50)
		wantIdle(t, app)
	})
}

// TestRun_TenThousandSessionsLeaveNothing is not parallel: it counts what the
// whole process has open.
func TestRun_TenThousandSessionsLeaveNothing(t *testing.T) {
	configs := map[string]func(testing.TB) dbfx.Config{"sqlite": fxtest.SQLite, "postgresql": fxtest.Postgres}
	for name, config := range configs {
		t.Run(name, func(t *testing.T) {
			app := fxtest.New(t, fxtest.Use(config(t)))
			if err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
				_, err := tx.ExecContext(ctx, "create table kv (k text, v integer)")
				return err
			}); err != nil {
				t.Fatal(err)
			}
			one := func(i int) {
				_ = app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
					_, err := tx.ExecContext(ctx, "update kv set v = v + 1 where k = $1", "a")
					if i%3 == 0 {
						return errBoom
					}
					return err
				})
				_ = app.Sessions.View(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
					return tx.QueryRowContext(ctx, "select count(*) from kv").Scan(new(int))
				})
			}
			for i := range 10 {
				one(i)
			}
			goroutines, files := runtime.NumGoroutine(), openFiles(t)
			for i := range 10_000 {
				one(i)
			}
			for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > goroutines+2; {
				if time.Now().After(deadline) { // database/sql's goroutine of a transaction ends a moment after it
					t.Fatalf("goroutines grew from %d to %d", goroutines, runtime.NumGoroutine())
				}
				time.Sleep(time.Millisecond)
			}
			if n := openFiles(t); n > files+2 {
				t.Errorf("open files grew from %d to %d", files, n)
			}
			if s := app.DB.Stats(); s.OpenConnections > 2 || s.InUse != 0 {
				t.Errorf("connections: %+v", s)
			}
		})
	}
}

// openFiles counts this process's, 0 where the system does not tell.
func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(entries)
}

// watched has the values of a context, and ends as soon as a statement watches it.
type watched struct {
	context.Context
	life context.Context
	end  context.CancelFunc
}

func newWatched(ctx context.Context) watched {
	life, end := context.WithCancel(context.Background())
	return watched{ctx, life, end}
}

func (w watched) Done() <-chan struct{} { return w.life.Done() }
func (w watched) Err() error            { return w.life.Err() }

// AfterFunc is what context.AfterFunc uses where a context has it.
func (w watched) AfterFunc(f func()) (stop func() bool) {
	defer w.end()
	return context.AfterFunc(w.life, f)
}

func TestSQLite_AnEndedTransactionCannotGoOn(t *testing.T) {
	t.Parallel()
	enders := map[string]func(ctx context.Context, tx dbfx.DBTX){
		"InterruptedWrite": func(ctx context.Context, tx dbfx.DBTX) {
			short := newWatched(ctx)
			defer short.end()
			_, _ = tx.ExecContext(short, endlessWrite(dbfx.DefaultConfig()))
		},
		"OrRollbackReturning": func(ctx context.Context, tx dbfx.DBTX) {
			var k string
			_ = tx.QueryRowContext(ctx, "insert or rollback into kv values ('first', 1) returning k").Scan(&k)
		},
		"Raise": func(ctx context.Context, tx dbfx.DBTX) {
			_, _ = tx.ExecContext(ctx, "insert into kv values ('raise', 1)")
		},
		"Full": func(ctx context.Context, tx dbfx.DBTX) {
			_, _ = tx.ExecContext(ctx, "pragma max_page_count = 20")
			for range 100 {
				if _, err := tx.ExecContext(ctx, "insert into kv select hex(randomblob(2000)), 1"); err != nil {
					_, _ = tx.ExecContext(ctx, "insert or rollback into kv select hex(randomblob(20000)), 1")
					return
				}
			}
		},
		"UserRollback": func(ctx context.Context, tx dbfx.DBTX) { _, _ = tx.ExecContext(ctx, "rollback") },
		"UserCommit":   func(ctx context.Context, tx dbfx.DBTX) { _, _ = tx.ExecContext(ctx, "commit") },
	}
	for name, end := range enders {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			app := fxtest.New(t)
			ctx := t.Context()
			if _, err := app.DB.ExecContext(ctx, `create table kv (k text primary key, v integer);
				create trigger r before insert on kv when new.k = 'raise' begin select raise(rollback, 'no'); end`); err != nil {
				t.Fatal(err)
			}
			err := app.Sessions.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
				if err := put(ctx, tx, "first", 1); err != nil {
					return err
				}
				end(ctx, tx)
				wantIs(t, put(ctx, tx, "second", 1), dbfx.ErrRolledBack)
				return nil
			})
			wantIs(t, err, dbfx.ErrRolledBack)
			wantCount(t, app, "%", 0)

			if name == "Full" {
				return // undoes its statement alone, and a bare *sql.Tx may go on after that
			}
			// The same through a bare *sql.Tx.
			tx, err := app.DB.BeginTx(ctx, nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := put(ctx, tx, "first", 1); err != nil {
				t.Fatal(err)
			}
			end(ctx, tx)
			wantIs(t, put(ctx, tx, "second", 1), dbfx.ErrRolledBack)
			wantIs(t, tx.Commit(), dbfx.ErrRolledBack)
			wantCount(t, app, "%", 0)
			if err := put(ctx, app.DB, "after", 1); err != nil {
				t.Error("the connection is not usable afterwards:", err)
			}
		})
	}
}

func TestSQLite_AnInterruptedReadLeavesTheOuterScope(t *testing.T) {
	t.Parallel()
	app := fxtest.New(t)
	if _, err := app.DB.ExecContext(t.Context(), "create table kv (k text, v integer)"); err != nil {
		t.Fatal(err)
	}
	err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
		if err := put(ctx, tx, "a", 1); err != nil {
			return err
		}
		err := app.Sessions.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
			return tx.QueryRowContext(ctx, endless(app.Config)).Scan(new(sql.NullInt64))
		}, dbfx.Timeout(20*time.Millisecond))
		wantIs(t, err, context.DeadlineExceeded)
		return put(ctx, tx, "b", 1)
	})
	if err != nil {
		t.Error(err)
	}
	wantCount(t, app, "%", 2)
}
