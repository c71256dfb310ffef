package migrate_test

import (
	"net/http/httptest"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/fx"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/dbfx/metrics"
	"github.com/sergas/dbkit/dbfx/migrate"
	"github.com/sergas/dbkit/dbfx/status"
	"github.com/sergas/dbkit/fxtest"
)

// TestModule_AScrapeAndThePageShowVersionAndPending, once readiness was asked for.
func TestModule_AScrapeAndThePageShowVersionAndPending(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		open(t, cfg).up(t, files("00001_a.sql", "create table a (n integer);"))
		two := files("00001_a.sql", "create table a (n integer);", "00002_b.sql", "create table b (n integer);")
		registry := prometheus.NewRegistry()
		var page *status.Page
		app := fxtest.New(t, fxtest.Use(cfg), migrate.Module(two, migrate.WithMode(migrate.Off)), metrics.Module, status.Module,
			fx.Provide(func() prometheus.Registerer { return registry }), fx.Populate(&page))
		if code, _ := ready(t, app.Health); code != 503 {
			t.Errorf("readiness is %d", code)
		}
		w := httptest.NewRecorder()
		promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil))
		contains(t, w.Body.String(), `{check="migrations",db_name="default",figure="version"} 1`, `figure="pending"} 1`, `figure="latest"} 2`)
		w = httptest.NewRecorder()
		page.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/", nil))
		contains(t, w.Body.String(), "pending 1", "version 1", "latest 2", "00002_b.sql")
	})
}
