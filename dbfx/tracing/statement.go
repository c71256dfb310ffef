package tracing

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/dbfx/internal/sqltext"
)

// statement is what is the same whenever a text runs.
type statement struct {
	name   string
	attrs  []attribute.KeyValue // of its span
	metric []attribute.KeyValue
	set    attribute.Set // of metric
}

// mostSummaries is how many summaries a database has series for. Summaries that a
// program makes up while it runs have one series together, without a summary.
const mostSummaries = 500

// statement describes a text, once for many times that it runs.
func (d *database) statement(sql string) *statement {
	summary := valid(sqltext.Summary(sql))
	s := &statement{name: summary, metric: d.attrs}
	attrs := d.attrs[:len(d.attrs):len(d.attrs)]
	if summary == "" {
		s.name = d.dialect
	} else {
		attrs = append(attrs, semconv.DBQuerySummary(summary))
		if d.counts(summary) {
			s.metric = attrs[:len(attrs):len(attrs)]
		}
	}
	s.set = attribute.NewSet(s.metric...)
	if d.queryText {
		attrs = append(attrs, semconv.DBQueryText(valid(sqltext.Shape(sql))))
	}
	s.attrs = attrs
	return s
}

// counts reports whether a summary has, or now gets, a series of its own.
func (d *database) counts(summary string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.summaries[summary] && len(d.summaries) >= mostSummaries {
		return false
	}
	d.summaries[summary] = true
	return true
}

// WantBrackets implements dbfx.BracketChooser: their time is in the session's span.
func (t *Tracer) WantBrackets() bool { return false }

// ObserveStatement implements dbfx.Observer.
func (t *Tracer) ObserveStatement(ctx context.Context, e dbfx.StatementEvent) {
	spans := t.recordsIn(ctx)
	if !spans && t.duration == nil {
		return
	}
	s := t.of(e.Database).statements.Get(e.SQL)
	if t.duration != nil {
		set := s.set
		if e.Err != nil {
			set = attribute.NewSet(append(failure(e), s.metric...)...)
		}
		t.duration.RecordSet(ctx, e.Duration.Seconds(), set)
	}
	if spans {
		t.span(ctx, s, e)
	}
}

// span makes the span of a statement that has ended. All that is known of it goes in
// at the start: a sampler can ask for it, and the span grows once.
func (t *Tracer) span(ctx context.Context, s *statement, e dbfx.StatementEvent) {
	p := t.scratch.Get().(*parts)
	p.attrs = append(p.attrs[:0], s.attrs...)
	if e.Rows >= 0 {
		p.attrs = append(p.attrs, returnedRows.Int64(e.Rows))
	}
	if e.Session != "" {
		p.attrs = append(p.attrs, sessionName.String(valid(e.Session)))
	}
	if e.Err != nil {
		p.attrs = append(p.attrs, failure(e)...)
	}
	p.options = append(p.options[:0], clientSpan, trace.WithAttributes(p.attrs...), trace.WithTimestamp(e.Start))
	_, span := t.tracer.Start(ctx, s.name, p.options...)
	t.scratch.Put(p)
	if e.Err != nil {
		span.SetStatus(codes.Error, e.Class)
	}
	span.End(trace.WithTimestamp(e.Start.Add(e.Duration)))
}

// parts are what a span is made of. A provider copies them: options can be read only
// into a SpanConfig of its own.
type parts struct {
	attrs   []attribute.KeyValue
	options []trace.SpanStartOption
}

const returnedRows = attribute.Key("db.response.returned_rows")

var (
	clientSpan   = trace.WithSpanKind(trace.SpanKindClient)
	internalSpan = trace.WithSpanKind(trace.SpanKindInternal)
)

// failure are the attributes of an error, without its text.
func failure(e dbfx.StatementEvent) []attribute.KeyValue {
	attrs := []attribute.KeyValue{semconv.ErrorTypeKey.String(e.Class)}
	if code := statusCode(e.Err); code != "" {
		attrs = append(attrs, semconv.DBResponseStatusCode(code))
	}
	return attrs
}

// statusCode is the SQLSTATE of PostgreSQL, "" where the error has none.
func statusCode(err error) string {
	var state interface{ SQLState() string }
	if errors.As(err, &state) {
		return state.SQLState()
	}
	return ""
}
