package dbfx

import (
	"database/sql"
	"strings"

	"go.uber.org/fx"
)

// Module is the default database, with its settings from the environment. It
// provides Config, *sql.DB, *Sessions, *Health, *Schema and *Probes, opens the database
// on start and drains and closes it on stop: fx.New(dbfx.Module) alone does so.
//
// It starts before and stops after every hook of the application that needs the
// database. A *zap.Logger, an Opener, a PasswordSource and the value
// groups "dbfx.observers", "dbfx.starters" and "dbfx.checks" are used where the graph has them.
// Every database of the graph is in the value group "dbfx.databases", as *Database: metrics,
// the status page and *Probes find them there.
// To change settings in code, fx.Replace or fx.Decorate the Config.
var Module = module("")

// Named is another database beside the default one: the same types under the tag
// name:"<name>", a PasswordSource too, with the settings that [LoadNamedConfig] reads. A name that is
// not made of letters, digits, _ and - fails the application, and so do two names
// that read the same variables, such as read-model and read_model.
func Named(name string) fx.Option {
	if name == "" {
		return fx.Error(errNoName)
	}
	if err := checkName(name); err != nil {
		return fx.Error(err)
	}
	return module(name)
}

// variablesOf stands in a graph once for each prefix of variables: Fx refuses a
// second one by its name.
type variablesOf struct{}

// module lists the constructors in the order of the flow.
func module(name string) fx.Option {
	title, tag := "dbfx", ""
	probes := fx.Provide(fx.Annotate(NewProbes, fx.ParamTags(`group:"dbfx.databases"`)))
	if name != "" {
		title, tag, probes = "dbfx."+name, `name:"`+name+`"`, fx.Options()
	}
	return fx.Module(title,
		fx.Provide(fx.Annotate(func() (Config, error) { return LoadNamedConfig(name) }, fx.ResultTags(tag))),
		fx.Provide(fx.Annotate(provideDatabase(name),
			fx.ParamTags(tag, `optional:"true"`, `optional:"true"`, strings.TrimSpace(tag+` optional:"true"`), `group:"dbfx.observers"`, `group:"dbfx.starters"`), fx.ResultTags(tag)), fx.Private),
		fx.Provide(fx.Annotate(provideDB, fx.ParamTags(tag), fx.ResultTags(tag))),
		fx.Provide(fx.Annotate(provideTools, fx.ParamTags(tag, tag), fx.ResultTags(tag, tag))),
		fx.Provide(fx.Annotate(provideHealth, fx.ParamTags(tag, tag, `group:"dbfx.checks"`), fx.ResultTags(tag))),
		fx.Provide(fx.Annotate(provideListed, fx.ParamTags(tag, tag, tag), fx.ResultTags(`group:"dbfx.databases"`))),
		probes,
		fx.Provide(fx.Annotate(func() variablesOf { return variablesOf{} }, fx.ResultTags(`name:"`+prefixOf(name)+`"`))),
		fx.Invoke(fx.Annotate(func(*sql.DB) {}, fx.ParamTags(tag))),
	)
}
