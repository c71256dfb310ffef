//go:build unix

package fxtest_test

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/fx"
	"go.uber.org/zap/zaptest/observer"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/dbfx/metrics"
	"github.com/sergas/dbkit/dbfx/status"
	"github.com/sergas/dbkit/fxtest"
)

// drill is a service in trouble, and all that may say so.
type drill struct {
	app      *fxtest.App
	page     *status.Page
	registry *prometheus.Registry
	logs     *observer.ObservedLogs
	told     int // lines of the log, before the step
}

// since are the lines of the log about one kind of event since the last step.
func (d *drill) since(kind dbfx.EventKind) (list []observer.LoggedEntry) {
	for _, entry := range d.logs.All()[d.told:] {
		if entry.ContextMap()["event"] == string(kind) {
			list = append(list, entry)
		}
	}
	return list
}

// says waits until health, the page, the metrics and the log agree on a step.
func (d *drill) says(t *testing.T, code int, state dbfx.State, metric string, value float64, event dbfx.EventKind) {
	t.Helper()
	eventually(t, "health, page, metrics and log say "+string(state), func() bool {
		got, body := get(t, d.app, http.MethodGet, "/readyz?verbose")
		shown := d.page.Snapshot().Databases[0]
		return got == code && strings.Contains(body, `"state":"`+string(state)+`"`) && shown.State == state &&
			d.metric(t, metric) == value && (event == "" || len(d.since(event)) > 0)
	})
}

// next begins a step: what the log has said is of those before.
func (d *drill) next() { d.told = d.logs.Len() }

// metric is the value of a metric without labels of its own.
func (d *drill) metric(t *testing.T, name string) float64 {
	t.Helper()
	families, err := d.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue() + f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	t.Fatal("no metric ", name)
	return 0
}

// crowd begins n sessions that end with the returned function.
func (d *drill) crowd(t *testing.T, n int, name string) (end func()) {
	t.Helper()
	over := make(chan struct{})
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			_ = d.app.Sessions.Run(t.Context(), func(context.Context, *dbfx.Session) error {
				<-over
				return nil
			}, dbfx.Name(name))
		})
	}
	return func() {
		close(over)
		wg.Wait()
	}
}

// TestDrill is the table of docs/observability.md, line by line.
func TestDrill_EachOfThemSaysWhatHappens(t *testing.T) {
	t.Parallel()
	server := fxtest.NewServer(t)
	cfg := server.Database(t)
	cfg.PoolSize, cfg.MaxOverflow, cfg.PoolTimeout, cfg.ConnectTimeout = 4, 0, time.Minute, time.Second
	d := &drill{registry: prometheus.NewRegistry()}
	supply, logs := logger()
	d.logs = logs
	d.app = fxtest.Start(t, dbfx.Module, fxtest.Use(cfg), supply, metrics.Module, status.Module,
		fx.Provide(func() prometheus.Registerer { return d.registry }), fx.Populate(&d.page))
	if _, err := d.app.DB.ExecContext(t.Context(), "create table stock (item text primary key, n integer); insert into stock values ('lamp', 1)"); err != nil {
		t.Fatal(err)
	}

	// Calm.
	d.says(t, http.StatusOK, dbfx.StateUp, "dbfx_up", 1, "")

	// The pool is full: 40 slow sessions on 4 connections.
	d.next()
	end := d.crowd(t, 40, "slow")
	d.says(t, http.StatusOK, dbfx.StateSaturated, "dbfx_sessions_waiting", 36, dbfx.EventSaturated)
	if got := d.since(dbfx.EventSaturated)[0].ContextMap(); got["session"] != "slow" || got["caller"] == "" {
		t.Errorf("the log names no holder: %v", got)
	}
	d.next()
	end()
	d.says(t, http.StatusOK, dbfx.StateUp, "dbfx_sessions_waiting", 0, dbfx.EventRelieved)

	// One holds a lock, another waits for it.
	d.holdsALock(t)

	// The server is killed, and comes back.
	d.next()
	server.Stop(t, syscall.SIGQUIT)
	noop := func(ctx context.Context, tx *dbfx.Session) error {
		_, err := tx.ExecContext(ctx, "select 1")
		return err
	}
	if err := d.app.Sessions.Run(t.Context(), noop); !dbfx.IsUnavailable(err) {
		t.Errorf("a session meanwhile: %v", err)
	}
	d.says(t, http.StatusServiceUnavailable, dbfx.StateDown, "dbfx_up", 0, dbfx.EventDown)
	d.next()
	server.Start(t)
	d.says(t, http.StatusOK, dbfx.StateUp, "dbfx_up", 1, dbfx.EventUp)
	if away := d.since(dbfx.EventUp)[0].ContextMap()["duration"]; away == nil {
		t.Error("the log does not say for how long")
	}

	// The service drains under load.
	end = d.crowd(t, 2, "last")
	eventually(t, "two run", func() bool { return d.app.Sessions.Stats().Running == 2 })
	d.app.Health.Stopping()
	d.says(t, http.StatusServiceUnavailable, dbfx.StateStopping, "dbfx_sessions_running", 2, "")
	end()
}

func (d *drill) holdsALock(t *testing.T) {
	t.Helper()
	locked, end := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	update := func(ctx context.Context, tx *dbfx.Session) error {
		_, err := tx.ExecContext(ctx, "update stock set n = n - 1 where item = 'lamp'")
		return err
	}
	wg.Go(func() {
		_ = d.app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
			defer func() { <-end }()
			defer close(locked)
			return update(ctx, tx)
		}, dbfx.Name("recount"))
	})
	<-locked
	wg.Go(func() { _ = d.app.Sessions.Run(t.Context(), update, dbfx.Name("sell")) })
	eventually(t, "the page says who waits for whom", func() bool {
		get(t, d.app, http.MethodGet, "/readyz")
		d.look(t)
		for _, s := range d.page.Snapshot().Databases[0].Now {
			if s.Name == "sell" && strings.HasPrefix(s.WaitsFor, "recount (process ") {
				return true
			}
		}
		return false
	})
	close(end)
	wg.Wait()
}

// look opens the page, which makes it ask the database.
func (d *drill) look(t *testing.T) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	if err != nil {
		t.Fatal(err)
	}
	d.page.ServeHTTP(discard{http.Header{}}, request)
}

// discard takes an answer that no one reads.
type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(b []byte) (int, error) { return len(b), nil }
func (d discard) WriteHeader(int)             {}
