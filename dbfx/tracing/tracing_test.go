package tracing_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	nometrics "go.opentelemetry.io/otel/metric/noop"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	nospans "go.opentelemetry.io/otel/trace/noop"
	"go.uber.org/fx"
	"go.uber.org/goleak"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/dbfx/tracing"
	"github.com/sergas/dbkit/fxtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errBoom = errors.New("hunter2 went boom")

// traced is a started application whose spans are recorded.
func traced(t *testing.T, opts ...fx.Option) (*fxtest.App, *tracetest.SpanRecorder) {
	t.Helper()
	recorder := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
	app := fxtest.New(t, append(opts, tracing.Module, fx.Provide(func() trace.TracerProvider { return provider }))...)
	if _, err := app.DB.ExecContext(t.Context(), "create table kv (k text primary key, v integer)"); err != nil {
		t.Fatal(err)
	}
	recorder.Reset()
	return app, recorder
}

// value returns an attribute of a span.
func value(s sdktrace.ReadOnlySpan, key string) string {
	for _, a := range s.Attributes() {
		if string(a.Key) == key {
			return a.Value.String()
		}
	}
	return ""
}

func TestModule_ASessionIsASpanWithItsStatements(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		app, recorder := traced(t, fxtest.Use(cfg))
		attempts, hooked := 0, 0
		err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
			if attempts++; attempts == 1 {
				return errBoom
			}
			tx.AfterCommit(func(ctx context.Context) {
				if trace.SpanFromContext(ctx).IsRecording() {
					hooked++
				}
			})
			if _, err := tx.ExecContext(ctx, "insert into kv values ($1, 1)", "hunter2"); err != nil {
				return err
			}
			var n int
			return tx.QueryRowContext(ctx, "-- name: CountKV :one\nselect count(*) from kv where k = 'hunter2'").Scan(&n)
		}, dbfx.Name("put"), dbfx.Retry(dbfx.RetryPolicy{Retryable: func(error) bool { return true }}))
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		var session sdktrace.ReadOnlySpan
		for _, s := range recorder.Ended() {
			names = append(names, s.Name())
			if s.Name() == "put" {
				session = s
			}
		}
		// The first attempt sends nothing on PostgreSQL: its BEGIN waits for a statement.
		got := strings.TrimPrefix(strings.Join(names, " "), "ROLLBACK ")
		if got != "INSERT kv CountKV COMMIT put" {
			t.Fatalf("got the spans %q", names)
		}
		if session.SpanKind() != trace.SpanKindInternal || value(session, "dbfx.session.outcome") != "committed" ||
			value(session, "dbfx.session.attempts") != "2" || value(session, "db.system.name") != string(cfg.Dialect()) || hooked != 1 {
			t.Errorf("got %v, %d hooks inside", session.Attributes(), hooked)
		}
		var events []string
		for _, e := range session.Events() {
			events = append(events, e.Name)
		}
		if !slices.Equal(events, []string{"dbfx.retry", "dbfx.hook"}) {
			t.Errorf("got the events %q", events)
		}
		for _, s := range recorder.Ended() {
			if s == session {
				continue
			}
			if s.SpanKind() != trace.SpanKindClient || s.Parent().SpanID() != session.SpanContext().SpanID() {
				t.Errorf("%s: kind %s, and not below the session", s.Name(), s.SpanKind())
			}
			if s.StartTime().Before(session.StartTime()) || s.EndTime().After(session.EndTime()) {
				t.Errorf("%s is outside of the session's time", s.Name())
			}
			if value(s, "db.query.text") != "" {
				t.Errorf("%s shows its text unasked", s.Name())
			}
		}
		hides(t, recorder)
	})
}

// hides fails the test if a value or the text of an error is in a span.
func hides(t *testing.T, recorder *tracetest.SpanRecorder) {
	t.Helper()
	for _, s := range recorder.Ended() {
		texts := []string{s.Name(), s.Status().Description}
		for _, a := range s.Attributes() {
			texts = append(texts, a.Value.String())
		}
		for _, e := range s.Events() {
			for _, a := range e.Attributes {
				texts = append(texts, a.Value.String())
			}
		}
		for _, text := range texts {
			if strings.Contains(text, "hunter2") {
				t.Errorf("%s shows %q", s.Name(), text)
			}
		}
	}
}

func TestModule_AnErrorHasItsCode(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		app, recorder := traced(t, fxtest.Use(cfg), fx.Supply(tracing.Options{QueryText: true}))
		err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
			_, err := tx.ExecContext(ctx, "insert into kv values ('hunter2', 1), ('hunter2', 2)")
			return err
		})
		if !dbfx.IsUniqueViolation(err) {
			t.Fatal(err)
		}
		seen := 0
		for _, s := range recorder.Ended() {
			if s.Name() != "INSERT kv" && s.Name() != "dbfx.run" {
				continue
			}
			seen++
			if s.Status().Code != codes.Error || value(s, "error.type") != "constraint" {
				t.Errorf("%s: got %v, %v", s.Name(), s.Status(), s.Attributes())
			}
			if s.Name() == "INSERT kv" && cfg.Dialect() == dbfx.Postgres && value(s, "db.response.status_code") != "23505" {
				t.Errorf("got %v", s.Attributes())
			}
			if s.Name() == "INSERT kv" && value(s, "db.query.text") != "insert into kv values (?, ...), (?, ...)" {
				t.Errorf("got the text %q", value(s, "db.query.text"))
			}
		}
		if seen != 2 {
			t.Errorf("%d spans, want the session's and the statement's", seen)
		}
		hides(t, recorder)
	})
}

func TestModule_MeasuresStatements(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		reader := sdkmetric.NewManualReader()
		provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
		app := fxtest.New(t, fxtest.Use(cfg), tracing.Module, fx.Provide(func() metric.MeterProvider { return provider }))
		err := app.Sessions.View(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
			var n int
			return tx.QueryRowContext(ctx, "select count(*) from (select 1) x").Scan(&n)
		})
		if err != nil {
			t.Fatal(err)
		}
		var got metricdata.ResourceMetrics
		if err := reader.Collect(t.Context(), &got); err != nil {
			t.Fatal(err)
		}
		found := false
		for _, scope := range got.ScopeMetrics {
			for _, m := range scope.Metrics {
				histogram, ok := m.Data.(metricdata.Histogram[float64])
				if m.Name != "db.client.operation.duration" || m.Unit != "s" || !ok {
					t.Errorf("got %s in %s, %T", m.Name, m.Unit, m.Data)
					continue
				}
				for _, point := range histogram.DataPoints {
					if v, _ := point.Attributes.Value(attribute.Key("db.query.summary")); v.AsString() == "SELECT" {
						found = point.Count == 1 && slices.Contains(point.Bounds, 0.001) && point.Bounds[0] == 0.00001
					}
					if v, _ := point.Attributes.Value(attribute.Key("db.query.summary")); strings.HasPrefix(v.AsString(), "BEGIN") {
						t.Error("a BEGIN was measured")
					}
				}
			}
		}
		if !found {
			t.Errorf("the statement was not measured: %+v", got.ScopeMetrics)
		}
	})
}

func TestModule_WithoutProvidersObservesNothing(t *testing.T) {
	t.Parallel()
	var observers []dbfx.Observer
	fxtest.New(t, tracing.Module, fx.Populate(fx.Annotate(&observers, fx.ParamTags(`group:"dbfx.observers"`))))
	for _, o := range observers {
		if o, ok := o.(*tracing.Tracer); ok {
			t.Errorf("got %v", o)
		}
	}
}

// asked is a sampler that counts what it is asked, and drops it.
type asked struct{ names *[]string }

func (a asked) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	*a.names = append(*a.names, p.Name)
	return sdktrace.SamplingResult{Decision: sdktrace.Drop}
}

func (asked) Description() string { return "asked" }

func selectOne(ctx context.Context, tx *dbfx.Session) error {
	var n int
	return tx.QueryRowContext(ctx, "select 1").Scan(&n)
}

func TestModule_WhatIsDroppedMakesNoSpans(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		var names []string
		provider := sdktrace.NewTracerProvider(sdktrace.WithSampler(asked{&names}))
		app := fxtest.New(t, fxtest.Use(cfg), tracing.Module, fx.Provide(func() trace.TracerProvider { return provider }))
		names = nil
		if err := app.Sessions.View(t.Context(), selectOne, dbfx.Name("alone")); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(names, []string{"alone"}) {
			t.Errorf("the sampler was asked for %q, want the session alone", names)
		}
		ctx, _ := provider.Tracer("request").Start(t.Context(), "request")
		names = nil
		if err := app.Sessions.View(ctx, selectOne, dbfx.Name("below")); err != nil {
			t.Fatal(err)
		}
		if _, err := app.DB.ExecContext(ctx, "select 1"); err != nil {
			t.Fatal(err)
		}
		if len(names) != 0 {
			t.Errorf("below what is dropped the sampler was asked for %q", names)
		}
	})
}

// TestModule_ASessionEndsItsOwnSpan: the innermost span of its context may be
// another's.
func TestModule_ASessionEndsItsOwnSpan(t *testing.T) {
	t.Parallel()
	var reports *dbfx.Sessions
	app, recorder := traced(t, dbfx.Named("reports"), fxtest.UseNamed("reports", fxtest.SQLite(t)),
		fx.Populate(fx.Annotate(&reports, fx.ParamTags(`name:"reports"`))))
	recorded := sdktrace.NewTracerProvider()
	never := sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.NeverSample())).Tracer("other")
	recorder.Reset()
	ctx, request := recorded.Tracer("request").Start(t.Context(), "request")
	err := app.Sessions.View(ctx, func(ctx context.Context, _ *dbfx.Session) error {
		ctx, _ = never.Start(ctx, "dropped")
		if err := reports.View(ctx, selectOne, dbfx.Name("inner")); err != nil {
			return err
		}
		if n := len(recorder.Ended()); n != 0 {
			t.Errorf("%d spans have ended inside", n)
		}
		return nil
	}, dbfx.Name("outer"))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range recorder.Ended() {
		if s.Name() != "outer" {
			t.Errorf("%s has ended", s.Name())
		}
	}
	if !request.IsRecording() {
		t.Error("the request's span was ended")
	}
}

func TestModule_BoundsTheSeriesOfStatements(t *testing.T) {
	t.Parallel()
	reader := sdkmetric.NewManualReader()
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	app := fxtest.New(t, tracing.Module, fx.Provide(func() metric.MeterProvider { return provider }))
	for i := range 1500 {
		_, _ = app.DB.ExecContext(t.Context(), fmt.Sprintf("-- name: Made%d :one\nselect 1", i))
	}
	var got metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &got); err != nil {
		t.Fatal(err)
	}
	points := got.ScopeMetrics[0].Metrics[0].Data.(metricdata.Histogram[float64]).DataPoints
	together := uint64(0)
	for _, point := range points {
		if _, ok := point.Attributes.Value("db.query.summary"); !ok {
			together += point.Count
		}
	}
	if len(points) > 501 || together < 1000 {
		t.Errorf("%d series, and %d statements in that without a summary", len(points), together)
	}
}

func TestNew_ProvidersThatRecordNothingAreNone(t *testing.T) {
	t.Parallel()
	o, err := tracing.New(tracing.Options{Tracers: nospans.NewTracerProvider(), Meters: nometrics.NewMeterProvider()})
	if o != nil || err != nil {
		t.Errorf("got %v, %v", o, err)
	}
}

// TestModule_HasNoSpansThatNoOneWaitsFor: of a View there are its own and those of its
// statements, and what a Run rolled back is there.
func TestModule_HasNoSpansThatNoOneWaitsFor(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		app, recorder := traced(t, fxtest.Use(cfg))
		if err := app.Sessions.View(t.Context(), selectOne, dbfx.Name("look")); err != nil {
			t.Fatal(err)
		}
		_ = app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
			return errors.Join(errBoom, selectOne(ctx, tx))
		}, dbfx.Name("put"))
		var names []string
		for _, s := range recorder.Ended() {
			names = append(names, s.Name())
		}
		if want := []string{"SELECT", "look", "SELECT", "ROLLBACK", "put"}; !slices.Equal(names, want) {
			t.Errorf("got %q, want %q", names, want)
		}
	})
}

// TestModule_TextsAreUTF8: OTLP has no words for others, and an exporter loses the
// whole batch for one.
func TestModule_TextsAreUTF8(t *testing.T) {
	t.Parallel()
	app, recorder := traced(t, fx.Supply(tracing.Options{QueryText: true}))
	_ = app.Sessions.View(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
		_, err := tx.ExecContext(ctx, "-- name: Made\xff :exec\nselect 1 as \"\xfe\"")
		return err
	}, dbfx.Name("/orders/\xff"))
	if n := len(recorder.Ended()); n != 2 {
		t.Errorf("%d spans", n)
	}
	for _, s := range recorder.Ended() {
		for _, a := range append(s.Attributes(), attribute.String("name", s.Name())) {
			if !utf8.ValidString(a.Value.String()) {
				t.Errorf("%s is %q", a.Key, a.Value.String())
			}
		}
	}
}

// TestNew_TwoDatabasesOfOneName: those of Open have none. A span says nothing that
// belongs to the other one.
func TestNew_TwoDatabasesOfOneName(t *testing.T) {
	t.Parallel()
	recorder := tracetest.NewSpanRecorder()
	observer, err := tracing.New(tracing.Options{Tracers: sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))})
	if err != nil {
		t.Fatal(err)
	}
	var databases []*dbfx.Database
	for range 2 {
		cfg := fxtest.SQLite(t)
		cfg.SQLitePath = filepath.Join(t.TempDir(), fmt.Sprintf("shard%d.db", len(databases)))
		db, err := dbfx.Open(t.Context(), cfg, dbfx.WithObserver(observer))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = db.Close(context.Background()) }()
		databases = append(databases, db)
	}
	recorder.Reset()
	for _, db := range databases {
		if _, err := db.DB().ExecContext(t.Context(), "select 1"); err != nil {
			t.Fatal(err)
		}
	}
	spans := recorder.Ended()
	if len(spans) != 2 {
		t.Fatalf("%d spans", len(spans))
	}
	for _, s := range spans {
		if value(s, "db.namespace") != "" || value(s, "db.system.name") != "sqlite" {
			t.Errorf("got %v", s.Attributes())
		}
	}
}
