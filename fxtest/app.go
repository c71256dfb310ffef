package fxtest

import (
	"context"
	"database/sql"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/fx"
	"go.uber.org/fx/fxevent"
	"go.uber.org/zap/zaptest"

	"github.com/sergas/dbkit/dbfx"
)

// patience bounds start and stop; a machine under the race detector is slow.
const patience = time.Minute

// App is a started application with what dbfx provides.
type App struct {
	*fx.App
	Config   dbfx.Config
	DB       *sql.DB
	Sessions *dbfx.Sessions
	Health   *dbfx.Health
	Schema   *dbfx.Schema
}

// New starts an application of dbfx.Module and opts, on a fresh SQLite file
// unless Use stands among opts, and stops it when the test ends. It fails the
// test if the application does not start or stop.
func New(tb testing.TB, opts ...fx.Option) *App {
	tb.Helper()
	app := &App{}
	all := []fx.Option{
		dbfx.Module,
		fx.WithLogger(func() fxevent.Logger { return &fxevent.ZapLogger{Logger: zaptest.NewLogger(tb)} }),
		fx.Populate(&app.Config, &app.DB, &app.Sessions, &app.Health, &app.Schema),
	}
	told := false
	for _, opt := range opts {
		_, use := opt.(useOption)
		told = told || use
	}
	if !told {
		all = append(all, Use(SQLite(tb)))
	}
	app.App = fx.New(append(all, opts...)...)
	if err := app.Err(); err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := app.Start(ctx); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := app.Stop(ctx); err != nil {
			tb.Error(err)
		}
	})
	return app
}

// Use replaces the Config of the default database. Give it to New, or to the
// fx.New of your own application, directly and not inside fx.Options.
func Use(cfg dbfx.Config) fx.Option { return useOption{fx.Replace(cfg)} }

// useOption lets New see that a Config was given.
type useOption struct{ fx.Option }

// SQLite returns the settings of a new file in the test's temporary directory.
// They do not depend on the environment.
func SQLite(tb testing.TB) dbfx.Config {
	tb.Helper()
	cfg := dbfx.DefaultConfig()
	cfg.SQLitePath = filepath.Join(tb.TempDir(), "test.db")
	return cfg
}

// EachEngine runs fn as the parallel subtests "sqlite" and "postgresql", each
// with the settings of an empty database.
func EachEngine(t *testing.T, fn func(t *testing.T, cfg dbfx.Config)) {
	t.Helper()
	t.Run(string(dbfx.SQLite), func(t *testing.T) {
		t.Parallel()
		fn(t, SQLite(t))
	})
	t.Run(string(dbfx.Postgres), func(t *testing.T) {
		t.Parallel()
		fn(t, Postgres(t))
	})
}
