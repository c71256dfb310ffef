// Package tracing shows what the databases of dbfx do to OpenTelemetry, by the
// semantic conventions 1.43.
//
// With Fx, tracing.Module beside dbfx.Module is all. A trace.TracerProvider in the
// graph turns the spans on, a metric.MeterProvider db.client.operation.duration;
// without either it costs nothing. Without Fx:
//
//	observer, err := tracing.New(tracing.Options{Tracers: provider})
//	db, err := dbfx.Open(ctx, cfg, dbfx.WithObserver(observer))
//
// Databases that share a Tracer and a name share the attributes that are the same for
// them all; give each a Tracer of its own.
//
// A Run or View is one INTERNAL span, named as the option Name says, with its
// outcome, attempts and wait; its retries and AfterCommit hooks are events of it.
// Its statements, COMMIT and a Run's ROLLBACK are CLIENT spans below it, named by
// their summary: sqlc's "-- name: X", else the operation and the table. BEGIN has
// none, for it rides with the first statement on PostgreSQL, and the ROLLBACK of a
// View, for which no one waits, has none. Arguments are never shown, and texts only
// with Options.QueryText, without the values that stand in them.
//
// What is not sampled costs next to nothing: below a span of this process that is
// not recorded, a session and its statements make no spans, whatever the sampler
// would say of them.
package tracing

import (
	"slices"
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	nometrics "go.opentelemetry.io/otel/metric/noop"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/semconv/v1.43.0/dbconv"
	"go.opentelemetry.io/otel/trace"
	nospans "go.opentelemetry.io/otel/trace/noop"

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

	scratch   sync.Pool // of *parts
	mu        sync.RWMutex
	databases map[string]*database // by the name given to Named
}

// database is what is the same in every span of a database.
type database struct {
	dialect     string
	attrs       []attribute.KeyValue
	queryText   bool
	statements  sqltext.Cache[*statement]
	runs, views sqltext.Cache[*session]

	mu        sync.Mutex
	summaries map[string]bool // that have a series
}

var (
	_ dbfx.SessionTracer    = (*Tracer)(nil)
	_ dbfx.DatabaseObserver = (*Tracer)(nil)
	_ dbfx.BracketChooser   = (*Tracer)(nil)
)

// durationBounds are the convention's, and finer ones below: a select on SQLite
// takes 12 µs.
var durationBounds = []float64{.00001, .000025, .00005, .0001, .00025, .0005, .001, .005, .01, .05, .1, .5, 1, 5, 10}

// New makes a Tracer. It is nil, which dbfx takes for no observer, where opt has
// neither provider, or those of OpenTelemetry's packages noop, which record nothing.
func New(opt Options) (dbfx.Observer, error) {
	if _, ok := opt.Tracers.(nospans.TracerProvider); ok {
		opt.Tracers = nil
	}
	if _, ok := opt.Meters.(nometrics.MeterProvider); ok {
		opt.Meters = nil
	}
	if opt.Tracers == nil && opt.Meters == nil {
		return nil, nil
	}
	t := &Tracer{opt: opt, databases: map[string]*database{}, scratch: sync.Pool{New: func() any { return new(parts) }}}
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

// ObserveDatabase implements dbfx.DatabaseObserver.
func (t *Tracer) ObserveDatabase(info dbfx.DatabaseInfo) {
	attrs := []attribute.KeyValue{semconv.DBSystemNameKey.String(string(info.Dialect))}
	if info.Namespace != "" {
		attrs = append(attrs, semconv.DBNamespace(info.Namespace))
	}
	if info.Host != "" {
		attrs = append(attrs, semconv.ServerAddress(info.Host))
	}
	if info.Port != 0 {
		attrs = append(attrs, semconv.ServerPort(info.Port))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if known := t.databases[info.Name]; known != nil { // another one of the name: what only one of them is, none of the spans says
		attrs = slices.DeleteFunc(attrs, func(a attribute.KeyValue) bool { return !slices.Contains(known.attrs, a) })
	}
	d := &database{dialect: string(info.Dialect), attrs: attrs, queryText: t.opt.QueryText, summaries: map[string]bool{}}
	d.statements.Of = d.statement
	d.runs.Of = func(name string) *session { return d.session("run", name) }
	d.views.Of = func(name string) *session { return d.session("view", name) }
	t.databases[info.Name] = d
}

// of returns a database, which dbfx has told before any of its events.
func (t *Tracer) of(name string) *database {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.databases[name]
}
