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
)

// ObserveStatement implements dbfx.Observer.
func (t *Tracer) ObserveStatement(ctx context.Context, e dbfx.StatementEvent) {
	if strings.HasPrefix(e.SQL, "BEGIN") { // dbfx's own: it rides, or begins what the session's span shows
		return
	}
	summary := t.summaries.Get(e.SQL)
	attrs := t.attributes(e.Database, 6)
	if summary != "" {
		attrs = append(attrs, semconv.DBQuerySummary(summary))
	}
	if e.Err != nil {
		if code := statusCode(e.Err); code != "" {
			attrs = append(attrs, semconv.DBResponseStatusCode(code))
		}
		attrs = append(attrs, semconv.ErrorTypeKey.String(e.Class))
	}
	if t.duration != nil {
		t.duration.RecordSet(ctx, e.Duration.Seconds(), attribute.NewSet(attrs...))
	}
	if t.tracer != nil {
		t.span(ctx, e, summary, attrs)
	}
}

// span makes the span of a statement that has ended.
func (t *Tracer) span(ctx context.Context, e dbfx.StatementEvent, summary string, attrs []attribute.KeyValue) {
	if t.opt.QueryText {
		attrs = append(attrs, semconv.DBQueryText(t.shapes.Get(e.SQL)))
	}
	if e.Rows >= 0 {
		attrs = append(attrs, attribute.Int64("db.response.returned_rows", e.Rows))
	}
	if e.Session != "" {
		attrs = append(attrs, sessionName.String(e.Session))
	}
	if summary == "" {
		summary = string(e.Dialect)
	}
	_, span := t.tracer.Start(ctx, summary, trace.WithSpanKind(trace.SpanKindClient), trace.WithTimestamp(e.Start), trace.WithAttributes(attrs...))
	if e.Err != nil {
		span.SetStatus(codes.Error, e.Class)
	}
	span.End(trace.WithTimestamp(e.Start.Add(e.Duration)))
}

// statusCode is the SQLSTATE of PostgreSQL, or SQLite's code, "" where the error
// has neither.
func statusCode(err error) string {
	var state interface{ SQLState() string }
	if errors.As(err, &state) {
		return state.SQLState()
	}
	return ""
}
