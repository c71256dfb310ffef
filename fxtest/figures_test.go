package fxtest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/fx"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/dbfx/metrics"
	"github.com/sergas/dbkit/dbfx/status"
	"github.com/sergas/dbkit/fxtest"
)

// counted is what a test knows of the sessions that it ran, by itself.
type counted struct {
	sessions                    atomic.Int64
	committed, read, rolledBack atomic.Int64
	entered, retries, inVain    atomic.Int64
}

func (m *counted) end(err error, outcome *atomic.Int64) {
	m.sessions.Add(1)
	if err != nil {
		outcome = &m.rolledBack
	}
	outcome.Add(1)
}

// all runs each kind once.
func (c *counted) all(ctx context.Context, app *fxtest.App, worker int) {
	s, nothing := app.Sessions, func(context.Context, *dbfx.Session) error { c.entered.Add(1); return nil }
	write := func(ctx context.Context, tx *dbfx.Session) error {
		c.entered.Add(1)
		_, err := tx.ExecContext(ctx, "update kv set v = v + 1 where k = $1", fmt.Sprint(worker))
		return err
	}
	c.end(s.Run(ctx, write, dbfx.Name("write")), &c.committed)
	c.end(s.View(ctx, func(ctx context.Context, tx *dbfx.Session) error {
		c.entered.Add(1)
		var n int
		return tx.QueryRowContext(ctx, "select count(*) from kv").Scan(&n)
	}, dbfx.Name("read")), &c.read)
	c.end(s.Run(ctx, func(context.Context, *dbfx.Session) error { c.entered.Add(1); return errBoom }, dbfx.Name("fails")), &c.committed)

	attempts := 0
	c.end(s.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
		c.entered.Add(1)
		if attempts++; attempts < 3 {
			c.retries.Add(1)
			return errBoom
		}
		return nil
	}, dbfx.Name("again"), dbfx.Retry(dbfx.RetryPolicy{Base: time.Microsecond, Retryable: func(error) bool { return true }})), &c.committed)

	c.end(s.Run(ctx, func(ctx context.Context, _ *dbfx.Session) error {
		c.entered.Add(1)
		_ = s.Run(ctx, func(context.Context, *dbfx.Session) error { return errBoom }, dbfx.Name("inner"))
		return s.Run(ctx, func(context.Context, *dbfx.Session) error { return nil }, dbfx.Name("inner"))
	}, dbfx.Name("nested")), &c.committed)

	func() {
		defer func() { _ = recover() }()
		defer c.end(errBoom, nil)
		_ = s.Run(ctx, func(context.Context, *dbfx.Session) error { c.entered.Add(1); panic("boom") }, dbfx.Name("panics"))
	}()
	var wg sync.WaitGroup
	wg.Go(func() {
		defer c.end(errBoom, nil)
		_ = s.View(ctx, func(context.Context, *dbfx.Session) error { c.entered.Add(1); runtime.Goexit(); return nil }, dbfx.Name("exits"))
	})
	wg.Wait()
	func() {
		defer func() { _ = recover() }()
		defer c.end(nil, &c.committed)
		_ = s.Run(ctx, func(_ context.Context, tx *dbfx.Session) error {
			c.entered.Add(1)
			tx.AfterCommit(func(context.Context) { panic("boom") })
			return nil
		}, dbfx.Name("hook panics"))
	}()
	c.cancelled(ctx, app, fmt.Sprint("cancelled ", worker), nothing)
}

// cancelled runs a session whose context ends while it waits or runs.
func (c *counted) cancelled(ctx context.Context, app *fxtest.App, name string, fn func(context.Context, *dbfx.Session) error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			for _, r := range app.Sessions.Running() {
				if r.Name == name {
					cancel()
				}
			}
		}
	})
	entered := false
	err := app.Sessions.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
		entered = true
		if err := fn(ctx, tx); err != nil {
			return err
		}
		<-ctx.Done()
		return ctx.Err()
	}, dbfx.Name(name))
	wg.Wait()
	if !entered {
		c.inVain.Add(1)
	}
	c.end(err, &c.committed)
}

// TestFigures_AreThoseOfWhoRanTheSessions: Stats, the observers, the metrics and the
// page say of a mixed load what the test has counted.
func TestFigures_AreThoseOfWhoRanTheSessions(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		cfg.PoolSize, cfg.MaxOverflow = 2, 0
		registry, r := prometheus.NewRegistry(), &recorder{}
		var page *status.Page
		app := fxtest.New(t, fxtest.Use(cfg), observe(r), metrics.Module, status.Module, fx.Populate(&page),
			fx.Provide(func() prometheus.Registerer { return registry }))
		if _, err := app.DB.ExecContext(t.Context(), "create table kv (k text primary key, v integer)"); err != nil {
			t.Fatal(err)
		}
		before := app.Sessions.Stats()
		var c counted
		var wg sync.WaitGroup
		for worker := range 8 {
			wg.Go(func() {
				for range 10 {
					c.all(t.Context(), app, worker)
				}
			})
		}
		wg.Wait()
		s := app.Sessions.Stats()
		for _, f := range []struct {
			what      string
			got, want int64
		}{
			{"committed", s.Committed - before.Committed, c.committed.Load()},
			{"read", s.Read - before.Read, c.read.Load()},
			{"rolled back", s.RolledBack - before.RolledBack, c.rolledBack.Load()},
			{"unknown", s.Unknown, 0},
			{"retries", s.Retries, c.retries.Load()},
			{"timeouts", s.Timeouts, 0},
			{"waits", s.Waits.Count - before.Waits.Count, c.entered.Load() + c.inVain.Load()},
			{"uses", s.Uses.Count - before.Uses.Count, c.entered.Load()},
			{"running", int64(s.Running), 0},
			{"waiting", int64(s.Waiting), 0},
			{"told to observers", int64(len(r.sessions)), c.sessions.Load()},
			{"on the page", onPage(t, page), c.sessions.Load()},
			{"in the metrics", inMetrics(t, registry, "dbfx_session_duration_seconds"), c.sessions.Load()},
			{"attempts in the metrics", inMetrics(t, registry, "dbfx_session_attempts_total"), c.entered.Load() + c.inVain.Load()},
			{"outcomes in the metrics", inMetrics(t, registry, "dbfx_sessions_total"), before.Committed + c.sessions.Load()},
		} {
			if f.got != f.want {
				t.Errorf("%s: got %d, want %d", f.what, f.got, f.want)
			}
		}
	})
}

// onPage is how many sessions the page's JSON has in its table.
func onPage(t *testing.T, page *status.Page) (n int64) {
	t.Helper()
	w := httptest.NewRecorder()
	page.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/?format=json", nil))
	var s status.Snapshot
	if err := json.Unmarshal(w.Body.Bytes(), &s); err != nil {
		t.Fatal(err)
	}
	for _, name := range s.Databases[0].Names {
		if name.Count != name.Committed+name.Read+name.RolledBack+name.Unknown {
			t.Errorf("%s: the outcomes do not add up to the count: %+v", name.Name, name)
		}
		n += name.Count
	}
	return n
}

// inMetrics adds up a metric over its labels: the counts of a histogram.
func inMetrics(t *testing.T, g prometheus.Gatherer, name string) (n int64) {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			if h := m.GetHistogram(); h != nil {
				n += int64(h.GetSampleCount()) //nolint:gosec // few
			} else {
				n += int64(m.GetCounter().GetValue())
			}
		}
	}
	return n
}
