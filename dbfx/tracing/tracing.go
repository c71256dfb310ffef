// Package tracing shows what the databases of dbfx do to OpenTelemetry, by the
// semantic conventions 1.43.
//
// With Fx, tracing.Module beside dbfx.Module is all. A trace.TracerProvider in the
// graph turns the spans on, a metric.MeterProvider db.client.operation.duration;
// without either it costs nothing. Without Fx:
//
//	db, err := dbfx.Open(ctx, cfg, dbfx.WithObserver(tracing.New(tracing.Options{Tracers: provider})))
//
// A Run or View is one INTERNAL span, named as the option Name says, with its
// outcome, attempts and wait; its retries and AfterCommit hooks are events of it.
// Its statements, COMMIT and ROLLBACK are CLIENT spans below it, named by their
// summary: sqlc's "-- name: X", else the operation and the table. BEGIN has none:
// on PostgreSQL it rides with the first statement. Arguments are never shown, and
// texts only with Options.QueryText, without the values that stand in them.
package tracing

import (
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/semconv/v1.43.0/dbconv"
	"go.opentelemetry.io/otel/trace"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/dbfx/internal/sqltext"
)

// scope names this package to the providers.
const scope = "github.com/sergas/dbkit/dbfx/tracing"

// Options say what is traced. With Fx, put one into the graph to change them.
type Options struct {
	// Tracers makes the spans, nil for none. Module takes the graph's.
	Tracers trace.TracerProvider
	// Meters makes db.client.operation.duration, nil for none. Module takes the
	// graph's.
	Meters metric.MeterProvider
	// QueryText adds db.query.text, with ? in the place of every value.
	QueryText bool
}

// Tracer is the observer. It is safe for concurrent use.
type Tracer struct {
	opt      Options
	tracer   trace.Tracer // nil without spans
	duration *dbconv.ClientOperationDuration

	summaries, shapes sqltext.Cache

	mu        sync.RWMutex
	databases map[string][]attribute.KeyValue
}

var (
	_ dbfx.SessionTracer    = (*Tracer)(nil)
	_ dbfx.DatabaseObserver = (*Tracer)(nil)
)

// durationBounds are the convention's, and finer ones below: a select on SQLite
// takes 12 µs.
var durationBounds = []float64{.00001, .000025, .00005, .0001, .00025, .0005, .001, .005, .01, .05, .1, .5, 1, 5, 10}

// New makes a Tracer. It is nil, which dbfx takes for no observer, where opt has
// neither provider.
func New(opt Options) (dbfx.Observer, error) {
	if opt.Tracers == nil && opt.Meters == nil {
		return nil, nil
	}
	t := &Tracer{
		opt: opt, summaries: sqltext.Cache{Of: sqltext.Summary}, shapes: sqltext.Cache{Of: sqltext.Shape},
		databases: map[string][]attribute.KeyValue{},
	}
	if opt.Tracers != nil {
		t.tracer = opt.Tracers.Tracer(scope, trace.WithSchemaURL(semconv.SchemaURL))
	}
	if opt.Meters != nil {
		meter := opt.Meters.Meter(scope, metric.WithSchemaURL(semconv.SchemaURL))
		duration, err := dbconv.NewClientOperationDuration(meter, metric.WithExplicitBucketBoundaries(durationBounds...))
		if err != nil {
			return nil, err
		}
		t.duration = &duration
	}
	return t, nil
}

// ObserveDatabase implements dbfx.DatabaseObserver: what is the same in every span
// of a database.
func (t *Tracer) ObserveDatabase(d dbfx.DatabaseInfo) {
	attrs := []attribute.KeyValue{semconv.DBSystemNameKey.String(string(d.Dialect))}
	if d.Namespace != "" {
		attrs = append(attrs, semconv.DBNamespace(d.Namespace))
	}
	if d.Host != "" {
		attrs = append(attrs, semconv.ServerAddress(d.Host))
	}
	if d.Port != 0 {
		attrs = append(attrs, semconv.ServerPort(d.Port))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.databases[d.Name] = attrs
}

// attributes are those of a database, with room for more. The result is the
// caller's.
func (t *Tracer) attributes(database string, more int) []attribute.KeyValue {
	t.mu.RLock()
	defer t.mu.RUnlock()
	known := t.databases[database]
	return append(make([]attribute.KeyValue, 0, len(known)+more), known...)
}
