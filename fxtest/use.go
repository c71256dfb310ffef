package fxtest

import (
	"reflect"

	"go.uber.org/fx"

	"github.com/sergas/dbkit/dbfx"
)

// Use replaces the Config of the default database. Give it to New, Start or the
// fx.New of your own application, also inside fx.Options, but not inside
// fx.Module, out of which Fx lets no replacement.
func Use(cfg dbfx.Config) fx.Option { return useOption{Option: fx.Replace(cfg)} }

// UseNamed replaces the Config of the database that dbfx.Named(name) makes.
func UseNamed(name string, cfg dbfx.Config) fx.Option {
	return useOption{name: name, Option: fx.Replace(fx.Annotate(cfg, fx.ResultTags(`name:"`+name+`"`)))}
}

// useOption lets New and Start see which Configs were given.
type useOption struct {
	fx.Option
	name string
}

// usedIn returns the names of the databases whose Config is among opts, "" for
// the default one. It looks into fx.Options, which is a slice of options.
func usedIn(opts []fx.Option) map[string]bool {
	used := map[string]bool{}
	var walk func(fx.Option)
	walk = func(opt fx.Option) {
		if use, ok := opt.(useOption); ok {
			used[use.name] = true
			return
		}
		group := reflect.ValueOf(opt)
		if group.Kind() != reflect.Slice {
			return
		}
		for i := range group.Len() {
			if inner, ok := group.Index(i).Interface().(fx.Option); ok {
				walk(inner)
			}
		}
	}
	for _, opt := range opts {
		walk(opt)
	}
	return used
}
