package tracing

import (
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/fx"

	"github.com/sergas/dbkit/dbfx"
)

// Module traces every database of the graph while there is a
// trace.TracerProvider in it, and measures its statements while there is a
// metric.MeterProvider.
var Module = fx.Module("dbfx.tracing",
	fx.Provide(fx.Annotate(provide, fx.ParamTags(`optional:"true"`, `optional:"true"`, `optional:"true"`), fx.ResultTags(`group:"dbfx.observers"`))),
)

func provide(opt Options, tracers trace.TracerProvider, meters metric.MeterProvider) (dbfx.Observer, error) {
	if opt.Tracers == nil {
		opt.Tracers = tracers
	}
	if opt.Meters == nil {
		opt.Meters = meters
	}
	return New(opt)
}
