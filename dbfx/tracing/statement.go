package tracing

import (
	"context"
	"errors"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/dbfx/internal/sqltext"
)

// statement is what is the same whenever a text runs.
type statement struct {
	hidden bool // dbfx's own BEGIN: it rides, or begins what the session's span shows
	name   string
	span   trace.SpanStartOption // its attributes
	metric []attribute.KeyValue
	set    attribute.Set // of metric
}

// mostSummaries is how many summaries a database has series for. Summaries that a
// program makes up while it runs have one series together, without a summary.
const mostSummaries = 500

// statement describes a text, once for many times that it runs.
func (d *database) statement(sql string) *statement {
	if strings.HasPrefix(sql, "BEGIN") {
		return &statement{hidden: true}
	}
	summary := sqltext.Summary(sql)
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
		attrs = append(attrs, semconv.DBQueryText(sqltext.Shape(sql)))
	}
	s.span = trace.WithAttributes(attrs...)
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

// ObserveStatement implements dbfx.Observer.
func (t *Tracer) ObserveStatement(ctx context.Context, e dbfx.StatementEvent) {
	spans := t.recordsIn(ctx)
	if !spans && t.duration == nil {
		return
	}
	s := t.of(e.Database).statements.Get(e.SQL)
	if s.hidden {
		return
	}
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

// span makes the span of a statement that has ended.
func (t *Tracer) span(ctx context.Context, s *statement, e dbfx.StatementEvent) {
	_, span := t.tracer.Start(ctx, s.name, clientSpan, s.span, trace.WithTimestamp(e.Start))
	if !span.IsRecording() {
		return
	}
	switch { // a list that does not grow costs no allocation
	case e.Rows >= 0 && e.Session != "":
		span.SetAttributes(returnedRows.Int64(e.Rows), sessionName.String(e.Session))
	case e.Rows >= 0:
		span.SetAttributes(returnedRows.Int64(e.Rows))
	case e.Session != "":
		span.SetAttributes(sessionName.String(e.Session))
	}
	if e.Err != nil {
		span.SetAttributes(failure(e)...)
		span.SetStatus(codes.Error, e.Class)
	}
	span.End(trace.WithTimestamp(e.Start.Add(e.Duration)))
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
