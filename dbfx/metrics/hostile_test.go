package metrics_test

import (
	"context"
	"encoding/json"
	"math"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/fx"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/dbfx/metrics"
	"github.com/sergas/dbkit/fxtest"
)

// TestModule_AScrapeSurvivesWhatAnApplicationNames: client_golang panics at a label
// that is not UTF-8, on a goroutine of its own, and refuses the whole scrape for two
// series of one name.
func TestModule_AScrapeSurvivesWhatAnApplicationNames(t *testing.T) {
	t.Parallel()
	var checks []fx.Option
	for _, figures := range []map[string]float64{{"ratio": math.NaN(), "a\xff": 1}, {"depth": 2}} {
		checks = append(checks, fx.Provide(fx.Annotate(func() dbfx.Check {
			return dbfx.Check{Name: "cache\xff", Run: func(context.Context) dbfx.CheckResult {
				return dbfx.CheckResult{Status: dbfx.Pass, Figures: figures}
			}}
		}, fx.ResultTags(`group:"dbfx.checks"`))))
	}
	app, registry := shown(t, fx.Options(checks...))
	for _, name := range []string{"/orders/\xff", "/orders/\xfe", "\"quoted\"\n"} {
		if err := app.Sessions.Run(t.Context(), func(context.Context, *dbfx.Session) error { return nil }, dbfx.Name(name)); err != nil {
			t.Fatal(err)
		}
	}
	app.Health.Check(t.Context())
	text := scrape(t, registry)
	for _, line := range []string{
		`mode="run",outcome="committed",session="/orders/` + "\uFFFD" + `"} 2`,
		`session="\"quoted\"\n"} 1`,
		`dbfx_check_status{check="cache` + "\uFFFD" + `",db_name="default"} 1`,
		`dbfx_check_status{check="cache` + "\uFFFD" + `#2",db_name="default"} 1`,
	} {
		if !strings.Contains(text, line) {
			t.Errorf("missing: %s", line)
		}
	}
	w := httptest.NewRecorder()
	app.Health.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/healthz", nil))
	var body struct{ Checks map[string]any }
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || len(body.Checks) != 3 {
		t.Errorf("/healthz: %v, %q", err, w.Body)
	}
}

// TestModule_StartsAgainWithTheSameRegisterer: as a service that restarts its
// application inside one process does, also after a start that failed.
func TestModule_StartsAgainWithTheSameRegisterer(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewPedanticRegistry()
	cfg := fxtest.SQLite(t)
	for round := range 3 {
		fails := round == 1
		app := fx.New(fx.NopLogger, dbfx.Module, metrics.Module, fx.Replace(cfg), fx.Provide(func() prometheus.Registerer { return registry }),
			fx.Invoke(func(lc fx.Lifecycle) {
				lc.Append(fx.StartHook(func() error {
					if fails {
						return errBoom
					}
					return nil
				}))
			}))
		if err := app.Start(t.Context()); (err != nil) != fails {
			t.Fatal(err)
		}
		if !fails {
			if text := scrape(t, registry); !strings.Contains(text, `dbfx_up{db_name="default"} 1`) || strings.Contains(text, "#2") {
				t.Errorf("round %d:\n%s", round, text)
			}
			if err := app.Stop(t.Context()); err != nil {
				t.Error(err)
			}
		}
		if text := scrape(t, registry); strings.Contains(text, "dbfx_") {
			t.Errorf("round %d: after the stop:\n%s", round, text)
		}
	}
}
