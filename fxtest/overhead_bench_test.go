package fxtest_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/dbfx/metrics"
	"github.com/sergas/dbkit/dbfx/status"
	"github.com/sergas/dbkit/dbfx/tracing"
	"github.com/sergas/dbkit/fxtest"
)

// noExport takes spans and does nothing with them.
type noExport struct{}

func (noExport) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error { return nil }
func (noExport) Shutdown(context.Context) error                             { return nil }

// BenchmarkOverhead compares a session of two statements with observers to one
// without any, the slow log off: batches of both by turns, so that the machine's
// noise is the same for all. It reports the ratios of the medians; "again" is none
// a second time, and says how far to trust them.
func BenchmarkOverhead(b *testing.B) {
	for name, cfg := range map[string]func(testing.TB) dbfx.Config{"sqlite": fxtest.SQLite, "postgresql": fxtest.Postgres} {
		b.Run(name, func(b *testing.B) { overhead(b, cfg(b)) })
	}
}

func overhead(b *testing.B, cfg dbfx.Config) {
	open := func(slow time.Duration, observers ...dbfx.Observer) *dbfx.Database {
		own := cfg
		own.SQLSlowThreshold = slow
		var options []dbfx.OpenOption
		for _, o := range observers {
			options = append(options, dbfx.WithObserver(o))
		}
		db, err := dbfx.Open(b.Context(), own, options...)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = db.Close(context.Background()) })
		return db
	}
	counted := metrics.New()
	withMetrics := open(time.Second, counted)
	if _, err := counted.Register(prometheus.NewRegistry(), withMetrics); err != nil {
		b.Fatal(err)
	}
	spans := sdktrace.NewTracerProvider(sdktrace.WithBatcher(noExport{}))
	b.Cleanup(func() { _ = spans.Shutdown(context.Background()) })
	tracer, err := tracing.New(tracing.Options{Tracers: spans})
	if err != nil {
		b.Fatal(err)
	}
	page := status.New(status.Options{})
	withPage := open(time.Second, page.Observer())
	page.Watch(withPage)
	b.Cleanup(page.Close)
	stop := make(chan struct{})
	b.Cleanup(func() { close(stop) })
	go func() { // a browser
		for {
			page.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
			select {
			case <-stop:
				return
			case <-time.After(time.Second):
			}
		}
	}()
	variants := []struct {
		name string
		db   *dbfx.Database
	}{
		{"none", open(0)}, {"again", open(0)}, {"slow-log", open(time.Second)}, {"metrics", withMetrics},
		{"tracing", open(time.Second, tracer)}, {"page", withPage},
	}
	batches := make([][]time.Duration, len(variants))
	for b.Loop() {
		for i, v := range variants {
			start := time.Now()
			for range 20 {
				if err := v.db.Sessions().View(b.Context(), twoStatements, dbfx.Name("bench")); err != nil {
					b.Fatal(err)
				}
			}
			batches[i] = append(batches[i], time.Since(start))
		}
	}
	median := func(list []time.Duration) float64 {
		slices.Sort(list)
		return float64(list[len(list)/2])
	}
	none := median(batches[0])
	for i, v := range variants[1:] {
		b.ReportMetric(median(batches[i+1])/none, v.name+"/none")
	}
}

func twoStatements(ctx context.Context, tx *dbfx.Session) error {
	for range 2 {
		var n int
		if err := tx.QueryRowContext(ctx, "select count(*) from (select 1 union all select 2) x").Scan(&n); err != nil {
			return err
		}
	}
	return nil
}
