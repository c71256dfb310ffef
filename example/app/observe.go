package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
	"go.uber.org/fx"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/sergas/dbkit/dbfx"
)

// newLog logs JSON in production, and lines for people elsewhere.
func newLog(cfg dbfx.Config) (*zap.Logger, error) {
	quiet := zap.AddStacktrace(zapcore.DPanicLevel)
	if cfg.IsProduction() {
		return zap.NewProduction(quiet)
	}
	config := zap.NewDevelopmentConfig()
	config.Level.SetLevel(zapcore.InfoLevel)
	config.EncoderConfig.EncodeDuration = zapcore.StringDurationEncoder
	return config.Build(quiet)
}

// newTracers makes spans where OpenTelemetry's own variables ask for them:
// OTEL_TRACES_EXPORTER=console writes them to the log. To send them somewhere, put
// an exporter of OpenTelemetry's in the place of spanLog, such as otlptracehttp's,
// which brings its own dependencies. The SDK itself reads OTEL_TRACES_SAMPLER,
// OTEL_SERVICE_NAME and the rest.
func newTracers(lc fx.Lifecycle, log *zap.Logger) (trace.TracerProvider, error) {
	exporter := os.Getenv("OTEL_TRACES_EXPORTER")
	if strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") {
		exporter = "none"
	}
	switch exporter {
	case "", "none":
		return noop.NewTracerProvider(), nil
	case "console":
	default:
		return nil, fmt.Errorf("OTEL_TRACES_EXPORTER: want console or none, got %q", exporter)
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(spanLog{log}))
	lc.Append(fx.StopHook(provider.Shutdown))
	return provider, nil
}

// spanLog writes each span as a line of the log.
type spanLog struct{ log *zap.Logger }

// ExportSpans implements sdktrace.SpanExporter.
func (l spanLog) ExportSpans(_ context.Context, spans []sdktrace.ReadOnlySpan) error {
	for _, s := range spans {
		attributes := make(map[string]any, len(s.Attributes()))
		for _, a := range s.Attributes() {
			attributes[string(a.Key)] = a.Value.AsInterface()
		}
		l.log.Info("span", zap.String("name", s.Name()), zap.Stringer("kind", s.SpanKind()),
			zap.Stringer("trace_id", s.SpanContext().TraceID()), zap.Stringer("span_id", s.SpanContext().SpanID()),
			zap.Stringer("parent_id", s.Parent().SpanID()), zap.Duration("duration", s.EndTime().Sub(s.StartTime())),
			zap.Stringer("status", s.Status().Code), zap.Any("attributes", attributes))
	}
	return nil
}

// Shutdown implements sdktrace.SpanExporter.
func (spanLog) Shutdown(context.Context) error { return nil }
