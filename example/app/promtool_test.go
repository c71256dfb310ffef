//go:build promtool

// Only make alerts runs this: it wants promtool, and a test that is skipped looks green.

package main

import (
	"net/http/httptest"
	"os/exec"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/fx"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

func TestMetrics_PassPromtool(t *testing.T) {
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		var registry *prometheus.Registry
		s := startService(t, cfg, fx.Populate(&registry))
		s.do(t, "POST", "/tokens", `{"name":"ci"}`)
		s.do(t, "POST", "/tokens", `{"name":"ci"}`) // a conflict
		s.do(t, "GET", "/tokens", "")
		s.Health.Check(t.Context())
		scrape := httptest.NewRecorder()
		promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(scrape, httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil))
		lint := exec.CommandContext(t.Context(), "promtool", "check", "metrics")
		lint.Stdin = scrape.Body
		if out, err := lint.CombinedOutput(); err != nil || len(out) != 0 {
			t.Errorf("promtool check metrics: %v\n%s", err, out)
		}
	})
}
