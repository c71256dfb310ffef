package fxtest_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/fx"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

// checks puts checks into the graph.
func checks(list ...dbfx.Check) fx.Option {
	var options []fx.Option
	for _, c := range list {
		options = append(options, fx.Provide(fx.Annotate(func() dbfx.Check { return c }, fx.ResultTags(`group:"dbfx.checks"`))))
	}
	return fx.Options(options...)
}

func TestHealth_AChecksTimeoutAndOptionalAreKept(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	pass := func(context.Context) dbfx.CheckResult { return dbfx.CheckResult{Status: dbfx.Pass} }
	hangs := func(context.Context) dbfx.CheckResult { <-release; return dbfx.CheckResult{Status: dbfx.Pass} }
	fails := func(context.Context) dbfx.CheckResult {
		return dbfx.CheckResult{Status: dbfx.Fail, Reason: "the cache is away"}
	}
	tests := map[string]struct {
		give dbfx.Check
		want dbfx.Status
	}{
		"passes":                {dbfx.Check{Run: pass, Timeout: time.Minute}, dbfx.Pass},
		"hangs":                 {dbfx.Check{Run: hangs, Timeout: 10 * time.Millisecond}, dbfx.Fail},
		"fails":                 {dbfx.Check{Run: fails}, dbfx.Fail},
		"fails and is optional": {dbfx.Check{Run: fails, Optional: true}, dbfx.Warn},
		"panics":                {dbfx.Check{Run: func(context.Context) dbfx.CheckResult { panic("boom") }}, dbfx.Fail},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tt.give.Name = "mine"
			app := fxtest.New(t, checks(tt.give, dbfx.Check{Name: "other", Run: pass}))
			report := app.Health.Check(t.Context())
			other := slices.IndexFunc(report.Checks, func(c dbfx.CheckReport) bool { return c.Name == "other" }) // Fx has no order
			if report.Status != tt.want || len(report.Checks) != 2 || other < 0 || report.Checks[other].Status != dbfx.Pass {
				t.Errorf("got %+v, want %s, and the other check answered", report, tt.want)
			}
		})
	}
}

func TestProbes_AllDatabasesAtOnce(t *testing.T) {
	t.Parallel()
	var probes *dbfx.Probes
	broken := dbfx.Check{Database: "reports", Name: "disk", Run: func(context.Context) dbfx.CheckResult {
		return dbfx.CheckResult{Status: dbfx.Fail, Reason: "the disk is full"}
	}}
	app := fxtest.New(t, dbfx.Named("reports"), fxtest.UseNamed("reports", fxtest.SQLite(t)), checks(broken), fx.Populate(&probes))
	ask := func(path string) (int, map[string]any) {
		w := httptest.NewRecorder()
		probes.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
		var body map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
			t.Fatal(err)
		}
		return w.Code, body
	}
	code, body := ask("/readyz?verbose")
	all, _ := body["checks"].(map[string]any)
	if code != http.StatusServiceUnavailable || all["database:ping"] == nil || all["reports:ping"] == nil || all["reports:disk"] == nil {
		t.Errorf("got %d %v", code, body)
	}
	if code, body := ask("/readyz"); code != http.StatusServiceUnavailable || body["checks"] != nil || body["output"] != "the disk is full" {
		t.Errorf("got %d %v", code, body)
	}
	if report := app.Health.Check(t.Context()); report.Status != dbfx.Pass {
		t.Errorf("the default database has its own health: %+v", report)
	}
	for _, path := range []string{"/livez", "/startupz"} {
		if code, _ := ask(path); code != http.StatusOK {
			t.Errorf("%s: got %d", path, code)
		}
	}
	probes.Stopping()
	if report := app.Health.Check(t.Context()); report.State != dbfx.StateStopping {
		t.Errorf("got %+v", report)
	}
}

func TestHealth_WritesAsksWhetherTheDatabaseTakesThem(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		app := fxtest.New(t, fxtest.Use(cfg))
		if code, body := get(t, app, http.MethodGet, "/writez"); code != http.StatusOK {
			t.Errorf("got %d %s", code, body)
		}
		if cfg.Dialect() != dbfx.Postgres {
			return
		}
		if _, err := app.DB.ExecContext(t.Context(), `do $$ begin execute 'alter database "' || current_database() || '" set default_transaction_read_only = on'; end $$`); err != nil {
			t.Fatal(err)
		}
		app.Sessions.Renew()
		eventually(t, "it is known that the database has become read-only", func() bool { // or no answer came within a second
			code, body := get(t, app, http.MethodGet, "/writez?verbose")
			return code == http.StatusServiceUnavailable && strings.Contains(body, "takes no writes")
		})
		if code, body := get(t, app, http.MethodGet, "/readyz"); code != http.StatusOK {
			t.Errorf("reads are still served: got %d %s", code, body)
		}
	})
}

func TestHealth_AHolderThatNeverEndsIsStuckAndNotLoad(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		cfg = one(cfg)
		cfg.PoolTimeout = 200 * time.Millisecond
		app := fxtest.New(t, fxtest.Use(cfg))
		release := occupy(t, app, "never ends")
		var report dbfx.Report
		eventually(t, "health says stuck", func() bool {
			_ = app.Sessions.Run(t.Context(), func(context.Context, *dbfx.Session) error { return nil })
			report = app.Health.Check(t.Context())
			return report.State == dbfx.StateStuck
		})
		if report.Healthy() {
			t.Errorf("got %+v", report)
		}
		release()
		eventually(t, "health says up again", func() bool {
			_ = app.Sessions.Run(t.Context(), func(context.Context, *dbfx.Session) error { return nil })
			return app.Health.Check(t.Context()).Status == dbfx.Pass
		})
	})
}

// TestHealth_WritesOfAServerThatHangsFail: the report that is a second old says up.
func TestHealth_WritesOfAServerThatHangsFail(t *testing.T) {
	t.Parallel()
	cfg, link := fxtest.Proxy(t, fxtest.Postgres(t))
	app := fxtest.New(t, fxtest.Use(cfg))
	eventually(t, "it takes writes", func() bool { return app.Health.CheckWrites(t.Context()).Status == dbfx.Pass })
	link.Freeze()
	defer link.Heal()
	if report := app.Health.CheckWrites(t.Context()); report.Status != dbfx.Fail {
		t.Errorf("got %s, %s", report.Status, report.State)
	}
}
