package dbfx

import (
	"database/sql"
	"errors"

	"go.uber.org/fx"
	"go.uber.org/zap"
)

var errNoName = errors.New("dbfx: Named wants a name; Module is the database without one")

// provideDatabase builds the database. It does no I/O.
func provideDatabase(name string) func(Config, *zap.Logger, Opener, PasswordSource, []Observer, []Starter) (*Database, error) {
	return func(cfg Config, log *zap.Logger, open Opener, source PasswordSource, watch []Observer, starters []Starter) (*Database, error) {
		opts := []OpenOption{WithLogger(log), WithOpener(open), WithPasswordSource(source)}
		for _, o := range watch {
			opts = append(opts, WithObserver(o))
		}
		for _, s := range starters {
			if s.Database == name && s.Run != nil {
				opts = append(opts, WithStarter(s))
			}
		}
		return newDatabase(name, cfg, opts...)
	}
}

// provideDB makes the handle and binds it to the application's life. The hooks
// stand here, so that a graph that replaces *sql.DB dials nothing.
func provideDB(d *Database, lc fx.Lifecycle) *sql.DB {
	db := d.open()
	bind(d, lc)
	return db
}

// provideTools builds what works on the handle, a replaced one too.
func provideTools(d *Database, db *sql.DB) (*Sessions, *Schema) {
	d.assemble(db)
	return d.sessions, d.schema
}

// provideHealth stands apart, so that a check may depend on *Sessions.
func provideHealth(d *Database, db *sql.DB, checks []Check) *Health {
	d.checks = append(d.checks, checksOf(d.name, checks)...)
	d.health = newHealth(d, db)
	return d.health
}

// provideListed lists the database among those of the graph, once it is whole.
func provideListed(d *Database, _ *Sessions, _ *Health) *Database { return d }
