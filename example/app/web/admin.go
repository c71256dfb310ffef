package web

import (
	"context"
	"net/http"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/fx"
	"go.uber.org/zap"

	"github.com/sergas/dbkit/dbfx/status"
)

// DefaultAdminAddr is where the Admin listens unless HTTP_ADMIN_ADDR says
// otherwise.
const DefaultAdminAddr = "127.0.0.1:8081"

// Admin serves operators: /metrics, and the status page at /. It has an address
// of its own because the page shows SQL: a proxy in front of the service must not
// be able to reach it by accident.
type Admin struct{ *listener }

// NewAdmin reads HTTP_ADMIN_ADDR; off serves nothing.
func NewAdmin(lc fx.Lifecycle, page *status.Page, figures *prometheus.Registry, log *zap.Logger) *Admin {
	addr := os.Getenv("HTTP_ADMIN_ADDR")
	switch addr {
	case "off":
		return &Admin{}
	case "":
		addr = DefaultAdminAddr
	}
	mux := http.NewServeMux()
	// Exemplars, which lead from a bucket to a trace, leave in OpenMetrics alone.
	mux.Handle("GET /metrics", promhttp.HandlerFor(figures, promhttp.HandlerOpts{EnableOpenMetrics: true}))
	mux.Handle("/", page)
	a := &Admin{newListener("HTTP_ADMIN_ADDR", addr, mux, log)}
	a.http.RegisterOnShutdown(page.Close) // a browser that looks keeps a stream open
	lc.Append(fx.StartStopHook(func(ctx context.Context) error {
		if err := a.start(ctx); err != nil {
			return err
		}
		log.Info("serving operators", zap.String("addr", a.addr))
		return nil
	}, a.stop))
	return a
}
