package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/fx"

	"github.com/sergas/dbkit/dbfx"
)

// Module shows every database of the graph, with the graph's
// prometheus.Registerer or else the default one, from the start to the stop.
var Module = fx.Module("dbfx.metrics",
	fx.Provide(New),
	fx.Provide(fx.Annotate(func(m *Metrics) dbfx.Observer { return m }, fx.ResultTags(`group:"dbfx.observers"`))),
	fx.Invoke(fx.Annotate(bind, fx.ParamTags(``, ``, `optional:"true"`, `group:"dbfx.databases"`))),
)

// bind registers on start, as a graph that is only validated must leave nothing
// behind in a registry.
func bind(lc fx.Lifecycle, m *Metrics, to prometheus.Registerer, databases []*dbfx.Database) {
	if to == nil {
		to = prometheus.DefaultRegisterer
	}
	stop := func() {}
	lc.Append(fx.StartStopHook(
		func() (err error) {
			stop, err = m.Register(to, databases...)
			return err
		},
		func() { stop() },
	))
}
