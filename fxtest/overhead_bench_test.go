//go:build unix

package fxtest_test

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
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
// without any, the slow log off, in CPU time of the whole process: batches of each by
// turns, so that the machine's noise is the same for all. It reports the medians of the
// ratios of one turn; "again" is none a second time, and says how far to trust them.
func BenchmarkOverhead(b *testing.B) {
	for name, cfg := range map[string]func(testing.TB) dbfx.Config{"sqlite": fxtest.SQLite, "postgresql": fxtest.Postgres} {
		batch := 50
		if name == "postgresql" {
			batch = 5 // sessions of 20 times the length
		}
		b.Run(name, func(b *testing.B) { overhead(b, cfg(b), batch) })
	}
}

// variant is a database that is observed in one way, and what runs on it.
type variant struct {
	name string
	db   *dbfx.Database
	ctx  context.Context
	fn   func(context.Context, *dbfx.Session) error
	tip  trace.Tracer // makes the span of the session by hand
}

func (v variant) run(b *testing.B) {
	b.Helper()
	ctx := v.ctx
	if v.tip != nil {
		var span trace.Span
		ctx, span = v.tip.Start(ctx, "bench", trace.WithAttributes(attributes...))
		defer span.End()
	}
	if err := v.db.Sessions().View(ctx, v.fn, dbfx.Name("bench")); err != nil {
		b.Fatal(err)
	}
}

// attributes are as many as tracing gives a span.
var attributes = []attribute.KeyValue{
	attribute.String("db.system.name", "sqlite"), attribute.String("db.namespace", "bench.db"), attribute.String("db.query.summary", "SELECT"),
	attribute.Int("db.response.returned_rows", 1), attribute.String("dbfx.session.name", "bench"),
}

// byHand is twoStatements with the spans that tracing makes, written out: what
// OpenTelemetry itself costs.
func byHand(t trace.Tracer) func(context.Context, *dbfx.Session) error {
	span := func(ctx context.Context, name string) trace.Span {
		_, span := t.Start(ctx, name, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attributes...))
		return span
	}
	return func(ctx context.Context, tx *dbfx.Session) error {
		for range 2 {
			s, n := span(ctx, "SELECT"), 0
			err := tx.QueryRowContext(ctx, twoSelected).Scan(&n)
			s.End()
			if err != nil {
				return err
			}
		}
		return nil
	}
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
	var list []variant
	add := func(name string, db *dbfx.Database) *variant {
		list = append(list, variant{name: name, db: db, ctx: b.Context(), fn: twoStatements})
		return &list[len(list)-1]
	}
	add("none", open(0))
	add("again", open(0))
	add("slow-log", open(time.Second))

	counted := metrics.New()
	if _, err := counted.Register(prometheus.NewRegistry(), add("metrics", open(0, counted)).db); err != nil {
		b.Fatal(err)
	}
	batcher := sdktrace.NewTracerProvider(sdktrace.WithBatcher(noExport{}))
	b.Cleanup(func() { _ = batcher.Shutdown(context.Background()) })
	never := sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.NeverSample()))
	for _, provider := range []struct {
		name string
		trace.TracerProvider
	}{
		{"spans-noop", nospans.NewTracerProvider()},
		{"spans-never", never},
		{"spans-below-dropped", never},
		{"spans-always", sdktrace.NewTracerProvider()},
		{"spans-batched", batcher},
	} {
		tracer, err := tracing.New(tracing.Options{Tracers: provider.TracerProvider})
		if err != nil {
			b.Fatal(err)
		}
		v := add(provider.name, open(0, tracer))
		if provider.name == "spans-below-dropped" {
			v.ctx, _ = never.Tracer("request").Start(v.ctx, "request")
		}
	}
	for name, provider := range map[string]trace.TracerProvider{"by-hand": sdktrace.NewTracerProvider(), "by-hand-batched": batcher} {
		v := add(name, open(0))
		v.tip = provider.Tracer("bench")
		v.fn = byHand(v.tip)
	}
	page := status.New(status.Options{})
	page.Watch(add("page", open(0, page.Observer())).db)
	b.Cleanup(page.Close)
	return list
}

func overhead(b *testing.B, cfg dbfx.Config, batch int) {
	list := variants(b, cfg)
	ratios, took := make([][]float64, len(list)), make([]float64, len(list))
	var none []float64
	for b.Loop() {
		for _, i := range rand.Perm(len(list)) { // what one leaves to the collector is not always the same one's
			before := cpuTime(b)
			for range batch {
				list[i].run(b)
			}
			took[i] = float64(cpuTime(b) - before)
		}
		none = append(none, took[0]/float64(batch))
		for i := range list {
			ratios[i] = append(ratios[i], took[i]/took[0])
		}
	}
	b.ReportMetric(middle(none), "cpu-ns/session")
	for i, v := range list[1:] {
		b.ReportMetric(middle(ratios[i+1]), v.name+"/none")
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
						v.run(b)
					}
				})
			}
		})
	}
}

const twoSelected = "select count(*) from (select 1 union all select 2) x"

func twoStatements(ctx context.Context, tx *dbfx.Session) error {
	for range 2 {
		var n int
		if err := tx.QueryRowContext(ctx, twoSelected).Scan(&n); err != nil {
			return err
		}
	}
	return nil
}
