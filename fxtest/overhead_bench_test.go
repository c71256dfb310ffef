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
	"go.opentelemetry.io/otel/trace"
	nospans "go.opentelemetry.io/otel/trace/noop"

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
// without any, the slow log off: short batches of each by turns, so that the
// machine's noise is the same for all. It reports the medians of the ratios of one
// turn; "again" is none a second time, and says how far to trust them.
func BenchmarkOverhead(b *testing.B) {
	for name, cfg := range map[string]func(testing.TB) dbfx.Config{"sqlite": fxtest.SQLite, "postgresql": fxtest.Postgres} {
		b.Run(name, func(b *testing.B) { overhead(b, cfg(b)) })
	}
}

// variant is a database that is observed in one way.
type variant struct {
	name string
	db   *dbfx.Database
}

func variants(b *testing.B, cfg dbfx.Config) []variant {
	b.Helper()
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
	list := []variant{{"none", open(0)}, {"again", open(0)}, {"slow-log", open(time.Second)}}

	counted := metrics.New()
	list = append(list, variant{"metrics", open(0, counted)})
	if _, err := counted.Register(prometheus.NewRegistry(), list[len(list)-1].db); err != nil {
		b.Fatal(err)
	}
	batcher := sdktrace.NewTracerProvider(sdktrace.WithBatcher(noExport{}))
	b.Cleanup(func() { _ = batcher.Shutdown(context.Background()) })
	for _, provider := range []struct {
		name string
		trace.TracerProvider
	}{
		{"spans-noop", nospans.NewTracerProvider()},
		{"spans-never", sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.NeverSample()))},
		{"spans-always", sdktrace.NewTracerProvider()},
		{"spans-batched", batcher},
	} {
		tracer, err := tracing.New(tracing.Options{Tracers: provider})
		if err != nil {
			b.Fatal(err)
		}
		list = append(list, variant{provider.name, open(0, tracer)})
	}
	page := status.New(status.Options{})
	list = append(list, variant{"page", open(0, page.Observer())})
	page.Watch(list[len(list)-1].db)
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
	return list
}

func overhead(b *testing.B, cfg dbfx.Config) {
	const batch = 5
	list := variants(b, cfg)
	ratios, took := make([][]float64, len(list)), make([]time.Duration, len(list))
	var none []float64
	for turn := 0; b.Loop(); turn++ {
		for i := range list {
			i = (i + turn) % len(list) // no one is always first
			start := time.Now()
			for range batch {
				if err := list[i].db.Sessions().View(b.Context(), twoStatements, dbfx.Name("bench")); err != nil {
					b.Fatal(err)
				}
			}
			took[i] = time.Since(start)
		}
		none = append(none, float64(took[0])/batch)
		for i := range list {
			ratios[i] = append(ratios[i], float64(took[i])/float64(took[0]))
		}
	}
	median := func(list []float64) float64 {
		slices.Sort(list)
		return list[len(list)/2]
	}
	b.ReportMetric(median(none), "ns/session")
	for i, v := range list[1:] {
		b.ReportMetric(median(ratios[i+1]), v.name+"/none")
	}
}

// BenchmarkObserved is one observed session, for profiles and allocations.
func BenchmarkObserved(b *testing.B) {
	for name, cfg := range map[string]func(testing.TB) dbfx.Config{"sqlite": fxtest.SQLite, "postgresql": fxtest.Postgres} {
		b.Run(name, func(b *testing.B) {
			for _, v := range variants(b, cfg(b)) {
				b.Run(v.name, func(b *testing.B) {
					b.ReportAllocs()
					for b.Loop() {
						if err := v.db.Sessions().View(b.Context(), twoStatements, dbfx.Name("bench")); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
		})
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
