package status

import (
	"go.uber.org/fx"

	"github.com/sergas/dbkit/dbfx"
)

// Module provides *Page, which shows every database of the graph, and takes an
// Options where the graph has one.
var Module = fx.Module("dbfx.status",
	fx.Provide(fx.Annotate(New, fx.ParamTags(`optional:"true"`))),
	fx.Provide(fx.Annotate((*Page).Observer, fx.ResultTags(`group:"dbfx.observers"`))),
	fx.Invoke(fx.Annotate(bind, fx.ParamTags(``, ``, `group:"dbfx.databases"`))),
)

// bind watches from the start to the stop.
func bind(lc fx.Lifecycle, p *Page, databases []*dbfx.Database) {
	lc.Append(fx.StartStopHook(func() { p.Watch(databases...) }, p.Close))
}
