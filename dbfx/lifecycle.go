package dbfx

import "go.uber.org/fx"

// bind opens the database on start and closes it on stop. The close is appended
// first: Fx does not call the OnStop of a hook whose own OnStart failed, but that
// of the hooks before it.
func bind(d *Database, lc fx.Lifecycle) {
	lc.Append(fx.StopHook(d.Close))
	lc.Append(fx.StartHook(d.start))
}
