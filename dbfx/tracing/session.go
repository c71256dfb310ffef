package tracing

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/sergas/dbkit/dbfx"
)

// The attributes of a session's span that no convention has a name for.
const (
	sessionName     = attribute.Key("dbfx.session.name")
	sessionMode     = attribute.Key("dbfx.session.mode") // run or view
	sessionOutcome  = attribute.Key("dbfx.session.outcome")
	sessionAttempts = attribute.Key("dbfx.session.attempts")
	sessionWait     = attribute.Key("dbfx.session.wait_seconds")
	sessionRows     = attribute.Key("dbfx.session.rows")
	sessionRole     = attribute.Key("dbfx.session.role")
)

// StartSession implements dbfx.SessionTracer.
func (t *Tracer) StartSession(ctx context.Context, e dbfx.SessionEvent) context.Context {
	if t.tracer == nil {
		return ctx
	}
	mode, name := "run", e.Name
	if e.ReadOnly {
		mode = "view"
	}
	if name == "" {
		name = "dbfx." + mode
	}
	attrs := append(t.attributes(e.Database, 2), sessionMode.String(mode))
	if e.Name != "" {
		attrs = append(attrs, sessionName.String(e.Name))
	}
	ctx, _ = t.tracer.Start(ctx, name, trace.WithSpanKind(trace.SpanKindInternal), trace.WithTimestamp(e.Start), trace.WithAttributes(attrs...))
	return ctx
}

// ObserveStep implements dbfx.SessionTracer.
func (t *Tracer) ObserveStep(ctx context.Context, s dbfx.SessionStep) {
	span := trace.SpanFromContext(ctx)
	if t.tracer == nil || !span.IsRecording() {
		return
	}
	attrs := make([]attribute.KeyValue, 0, 4)
	attrs = append(attrs, sessionAttempts.Int(s.Attempt))
	if s.Class != "" {
		attrs = append(attrs, semconv.ErrorTypeKey.String(s.Class))
	}
	if s.Duration > 0 {
		attrs = append(attrs, attribute.Float64("dbfx.duration_seconds", s.Duration.Seconds()))
	}
	span.AddEvent("dbfx."+string(s.Kind), trace.WithTimestamp(s.Time), trace.WithAttributes(attrs...))
}

// ObserveSession implements dbfx.Observer.
func (t *Tracer) ObserveSession(ctx context.Context, e dbfx.SessionEvent) {
	span := trace.SpanFromContext(ctx)
	if t.tracer == nil || !span.IsRecording() {
		return
	}
	span.SetAttributes(
		sessionOutcome.String(string(e.Outcome)), sessionAttempts.Int(e.Attempts), sessionWait.Float64(e.Wait.Seconds()),
		sessionRows.Int64(e.Rows),
	)
	if e.Role != "" {
		span.SetAttributes(sessionRole.String(string(e.Role)))
	}
	if e.Class != "" {
		span.SetAttributes(semconv.ErrorTypeKey.String(e.Class))
		span.SetStatus(codes.Error, e.Class) // the text of an error may hold values
	}
}

// EndSession implements dbfx.SessionTracer: the span ends when Run returns.
func (t *Tracer) EndSession(ctx context.Context) {
	if t.tracer != nil {
		trace.SpanFromContext(ctx).End()
	}
}
