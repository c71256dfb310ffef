package tracing

import (
	"context"
	"strings"

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

// session is what is the same of all sessions of a name.
type session struct {
	name  string
	start []trace.SpanStartOption
}

// session describes the sessions of a name.
func (d *database) session(mode, name string) *session {
	name = valid(name)
	attrs := append(d.attrs[:len(d.attrs):len(d.attrs)], sessionMode.String(mode))
	if name == "" {
		name = "dbfx." + mode
	} else {
		attrs = append(attrs, sessionName.String(name))
	}
	return &session{name, []trace.SpanStartOption{internalSpan, trace.WithAttributes(attrs...)}}
}

// valid makes a text one that OTLP can carry: an exporter loses the whole batch of
// spans for one that is not UTF-8.
func valid(text string) string { return strings.ToValidUTF8(text, "\uFFFD") }

// spanKey is where the context of a session has its span. The innermost span of a
// context may be another's.
type spanKey struct{ t *Tracer }

// own is the span of the session that ctx belongs to, nil where it has none.
func (t *Tracer) own(ctx context.Context) trace.Span {
	span, _ := ctx.Value(spanKey{t}).(trace.Span)
	return span
}

// dropped reports whether a sampler of this process has decided against the trace
// that goes on below span.
func dropped(span trace.Span) bool {
	at := span.SpanContext()
	return at.IsValid() && !at.IsRemote() && !span.IsRecording()
}

// recordsIn reports whether statements under ctx have spans: those of a session
// where it has one, others where what they stand in has not been dropped.
func (t *Tracer) recordsIn(ctx context.Context) bool {
	if t.tracer == nil {
		return false
	}
	if span := t.own(ctx); span != nil {
		return span.IsRecording()
	}
	return !dropped(trace.SpanFromContext(ctx))
}

// StartSession implements dbfx.SessionTracer.
func (t *Tracer) StartSession(ctx context.Context, e dbfx.SessionEvent) context.Context {
	if t.tracer == nil {
		return ctx
	}
	if dropped(trace.SpanFromContext(ctx)) {
		if t.own(ctx) != nil { // of a session of another database, around this one
			ctx = context.WithValue(ctx, spanKey{t}, nil)
		}
		return ctx
	}
	d := t.of(e.Database)
	sessions := &d.runs
	if e.ReadOnly {
		sessions = &d.views
	}
	s := sessions.Get(e.Name)
	ctx, span := t.tracer.Start(ctx, s.name, s.start...)
	return context.WithValue(ctx, spanKey{t}, span)
}

// ObserveStep implements dbfx.SessionTracer.
func (t *Tracer) ObserveStep(ctx context.Context, s dbfx.SessionStep) {
	span := t.own(ctx)
	if span == nil || !span.IsRecording() {
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
	span := t.own(ctx)
	if span == nil || !span.IsRecording() {
		return
	}
	p := t.scratch.Get().(*parts)
	attrs := append(p.attrs[:0],
		sessionOutcome.String(string(e.Outcome)), sessionAttempts.Int(e.Attempts), sessionWait.Float64(e.Wait.Seconds()),
		sessionRows.Int64(e.Rows),
	)
	if e.Role != "" {
		attrs = append(attrs, sessionRole.String(string(e.Role)))
	}
	if e.Class != "" {
		attrs = append(attrs, semconv.ErrorTypeKey.String(e.Class))
		span.SetStatus(codes.Error, e.Class) // the text of an error may hold values
	}
	span.SetAttributes(attrs...)
	p.attrs = attrs
	t.scratch.Put(p)
}

// EndSession implements dbfx.SessionTracer: the span ends when Run returns.
func (t *Tracer) EndSession(ctx context.Context) {
	if span := t.own(ctx); span != nil {
		span.End()
	}
}
