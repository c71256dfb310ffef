package fxtest_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"go.uber.org/fx"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

// service is an application as a team has it: dbfx is inside.
var service = fx.Module("service", dbfx.Module, dbfx.Named("audit"), fx.Invoke(func(lc fx.Lifecycle, s *dbfx.Sessions) {
	lc.Append(fx.StartHook(func(ctx context.Context) error {
		_, err := s.DB(ctx).ExecContext(ctx, "create table if not exists orders (id integer primary key, name text)")
		return err
	}))
}))

func TestStart_TakesAnApplicationThatHasTheModule(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		audit := fxtest.SQLite(t)
		var named struct {
			fx.In
			Audit dbfx.Config `name:"audit"`
		}
		app := fxtest.Start(t, service, fx.Options(fxtest.Use(cfg), fxtest.UseNamed("audit", audit)), fx.Populate(&named))
		if app.Config.Dialect() != cfg.Dialect() || named.Audit != audit {
			t.Errorf("got %v and %v", app.Config, named.Audit)
		}
		if _, err := app.DB.ExecContext(t.Context(), "insert into orders values (1, 'x')"); err != nil {
			t.Error(err)
		}
	})
}

// TestStart_SaysWhatIsWrong runs each mistake in a process of its own.
func TestStart_SaysWhatIsWrong(t *testing.T) {
	mistakes := map[string]struct {
		do     func(t *testing.T)
		wantIn string
	}{
		"NamedWithoutSettings": {func(t *testing.T) { fxtest.Start(t, service) }, `add fxtest.UseNamed("audit", cfg)`},
		"ModuleTwice":          {func(t *testing.T) { fxtest.New(t, dbfx.Module) }, "wants fxtest.Start, not New"},
		"NamedTwice":           {func(t *testing.T) { fxtest.Start(t, service, dbfx.Named("audit")) }, "a dbfx.Named of one name stands twice"},
		"NameOfNoDatabase": {func(t *testing.T) {
			fxtest.Start(t, service, fxtest.UseNamed("audit", fxtest.SQLite(t)), fxtest.UseNamed("audti", fxtest.SQLite(t)))
		}, `UseNamed("audti"): the application has no database of that name`},
		"NoModule": {func(t *testing.T) { fxtest.Start(t) }, "wants fxtest.New, not Start"},
	}
	if childPart() {
		mistakes[os.Getenv("FXTEST_END")].do(t)
		return
	}
	t.Parallel()
	for name, tt := range mistakes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, err := child(t, "FXTEST_END="+name).CombinedOutput()
			if err == nil || !strings.Contains(string(out), tt.wantIn) {
				t.Errorf("got %v, want %q in\n%s", err, tt.wantIn, out)
			}
		})
	}
}

func TestNew_IsQuietUntilTheTestFails(t *testing.T) {
	if childPart() {
		app := fxtest.New(t)
		_, _ = app.DB.ExecContext(t.Context(), "insert into nowhere values (1)")
		if os.Getenv("FXTEST_END") == "fail" {
			t.Error("it fails")
		}
		return
	}
	t.Parallel()
	for end, want := range map[string]int{"pass": 0, "fail": 1} {
		out, _ := child(t, "FXTEST_END="+end).CombinedOutput()
		if got := strings.Count(string(out), "statement insert into nowhere"); got != want {
			t.Errorf("%s: the failed statement stands %d times in\n%s", end, got, out)
		}
		for _, wiring := range []string{"provided", "invoking", "OnStart hook"} {
			if strings.Contains(string(out), wiring) {
				t.Errorf("%s: %q is in the output:\n%s", end, wiring, out)
			}
		}
	}
}

// TestNew_LeakFailsTheTestAndSaysWhere has three ways to forget a connection. The
// line of each is in this file.
func TestNew_LeakFailsTheTestAndSaysWhere(t *testing.T) {
	leaks := map[string]func(t *testing.T, app *fxtest.App){
		"Rows": func(t *testing.T, app *fxtest.App) {
			_, err := app.DB.QueryContext(context.Background(), "select 1 union select 2") //nolint
			if err != nil {
				t.Error(err)
			}
		},
		"Conn": func(t *testing.T, app *fxtest.App) {
			if _, err := app.DB.Conn(t.Context()); err != nil {
				t.Error(err)
			}
		},
		"RowsInAStartThatFails": func(t *testing.T, app *fxtest.App) {
			fxtest.New(t, fxtest.Use(app.Config), fx.Invoke(func(lc fx.Lifecycle, db *sql.DB) {
				lc.Append(fx.StartHook(func(context.Context) error {
					_, _ = db.QueryContext(context.Background(), "select 1 union select 2") //nolint
					return errors.New("it does not start")
				}))
			}))
		},
		"TxInASession": func(t *testing.T, app *fxtest.App) {
			err := app.Sessions.View(t.Context(), func(ctx context.Context, _ *dbfx.Session) error {
				_, err := app.DB.BeginTx(context.Background(), nil)
				return err
			})
			if err != nil {
				t.Error(err)
			}
		},
	}
	if childPart() {
		cfg := fxtest.SQLite(t)
		if os.Getenv("FXTEST_ENGINE") == string(dbfx.Postgres) {
			cfg = fxtest.Postgres(t)
		}
		leaks[os.Getenv("FXTEST_END")](t, fxtest.New(t, fxtest.Use(cfg)))
		return
	}
	t.Parallel()
	for name := range leaks {
		for _, engine := range []dbfx.Dialect{dbfx.SQLite, dbfx.Postgres} {
			t.Run(name+"/"+string(engine), func(t *testing.T) {
				t.Parallel()
				if engine == dbfx.Postgres {
					fxtest.Postmaster(t) // skips where there is no server
				}
				out, err := child(t, "FXTEST_END="+name, "FXTEST_ENGINE="+string(engine)).CombinedOutput()
				if err == nil || !strings.Contains(string(out), "still in use") || !strings.Contains(string(out), "kit_test.go:") {
					t.Errorf("got %v\n%s", err, out)
				}
				if strings.Contains(string(out), "the test left") {
					t.Errorf("it is told twice, after a second wait:\n%s", out)
				}
				if name == "RowsInAStartThatFails" && !regexp.MustCompile(`kit_test\.go:\d+: it does not start`).Match(out) {
					t.Errorf("the start's own error is not told\n%s", out)
				}
			})
		}
	}
}

// TestStart_ADatabaseThatStopsFirstIsNoLeakOfAnother has a worker that keeps a
// connection until it stops, which is after the other database has.
func TestStart_ADatabaseThatStopsFirstIsNoLeakOfAnother(t *testing.T) {
	t.Parallel()
	stopped := false
	worker := fx.Module("worker", fx.Invoke(func(lc fx.Lifecycle, db *sql.DB) {
		var conn *sql.Conn
		lc.Append(fx.StartStopHook(func() (err error) {
			conn, err = db.Conn(context.Background())
			return err
		}, func() error {
			stopped = true
			return conn.Close()
		}))
	}))
	var audit struct {
		fx.In
		Database *sql.DB `name:"audit"`
	}
	t.Cleanup(func() {
		if !stopped {
			t.Error("the worker has not stopped")
		}
	})
	fxtest.Start(t, worker, dbfx.Module, dbfx.Named("audit"), fxtest.UseNamed("audit", fxtest.SQLite(t)), fx.Populate(&audit))
}

func TestStatements_RefusesABenchmark(t *testing.T) {
	if childPart() {
		testing.Benchmark(func(b *testing.B) {
			fxtest.Statements(b, fxtest.New(b))
			fmt.Println("it goes on")
		})
		return
	}
	t.Parallel()
	out, err := child(t).CombinedOutput()
	if err != nil || strings.Contains(string(out), "it goes on") {
		t.Errorf("got %v\n%s", err, out)
	}
}

func TestStatements_CountsWhatRan(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		app := fxtest.New(t, fxtest.Use(cfg))
		if _, err := app.DB.ExecContext(t.Context(), "create table lines (id integer)"); err != nil {
			t.Fatal(err)
		}
		ran := fxtest.Statements(t, app)
		err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
			for i := range 3 {
				if _, err := tx.ExecContext(ctx, "insert into lines values ($1)", i); err != nil {
					return err
				}
			}
			return app.Sessions.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
				var n int
				return tx.QueryRowContext(ctx, "select count(*) from lines").Scan(&n)
			})
		})
		if err != nil {
			t.Fatal(err)
		}
		if ran.Count("INSERT") != 3 || ran.Count("select") != 1 || ran.Count("") != 4 {
			t.Errorf("got %s", ran)
		}
		if all := len(ran.Events()); all < 6 {
			t.Errorf("%d events hold no BEGIN and COMMIT", all)
		}
		if ran.Reset(); len(ran.Events()) != 0 {
			t.Error("Reset left some")
		}
	})
}
