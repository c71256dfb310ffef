package fxtest

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/fx"
	"go.uber.org/fx/fxevent"

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

	watch *watch
}

// New starts an application of dbfx.Module and opts, on a fresh SQLite file
// unless Use stands among opts, and stops it when the test ends. It fails the
// test if the application does not start or stop, and if the test leaves a
// connection in use: then it says where that was taken.
//
// Nothing is printed unless the test fails, and then what failed and not the
// wiring: hooks, statements and sessions.
//
// For an application that has dbfx.Module itself use [Start].
func New(tb testing.TB, opts ...fx.Option) *App {
	tb.Helper()
	return start(tb, append([]fx.Option{dbfx.Module}, opts...))
}

// Start is New for an application that has dbfx.Module among opts itself:
//
//	app := fxtest.Start(t, service.Module, fxtest.UseNamed("audit", fxtest.SQLite(t)))
//
// Each database that comes from dbfx.Named wants a UseNamed: without one the
// settings of the environment would decide what the test writes to, and so Start
// fails the test.
func Start(tb testing.TB, opts ...fx.Option) *App {
	tb.Helper()
	return start(tb, opts)
}

func start(tb testing.TB, opts []fx.Option) *App {
	tb.Helper()
	app := &App{watch: newWatch(tb)}
	used := usedIn(opts)
	if !used[""] {
		opts = append(opts, Use(SQLite(tb)))
	}
	app.App = fx.New(append(opts,
		app.watch.option(),
		fx.WithLogger(func() fxevent.Logger { return app.watch }),
		fx.Populate(&app.Config, &app.DB, &app.Sessions, &app.Health, &app.Schema),
	)...)
	if err := app.Err(); err != nil {
		tb.Fatal(explain(err))
	}
	if name := app.watch.unnamed(used); name != "" {
		tb.Fatalf("fxtest: the database %q would be the environment's: add fxtest.UseNamed(%q, cfg)", name, name)
	}
	if name := app.watch.unknown(used); name != "" {
		tb.Fatalf("fxtest: UseNamed(%q): the application has no database of that name", name)
	}
	if err := app.watch.start(app.App); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := app.watch.stop(app.App); err != nil {
			tb.Error(err)
		}
	})
	return app
}

// explain adds what to write instead to some errors of Fx.
func explain(err error) error {
	text := err.Error()
	switch {
	case strings.Contains(text, "already provided") && strings.Contains(text, "dbfx.Config[name="):
		return fmt.Errorf("fxtest: a dbfx.Named of one name stands twice: %w", err)
	case strings.Contains(text, "already provided") && strings.Contains(text, "dbfx.Config"):
		return fmt.Errorf("fxtest: dbfx.Module stands twice: an application that has it wants fxtest.Start, not New: %w", err)
	case strings.Contains(text, "missing type") && strings.Contains(text, "dbfx.Config"):
		return fmt.Errorf("fxtest: no dbfx.Module: an application without it wants fxtest.New, not Start: %w", err)
	case strings.Contains(text, "already decorated") && strings.Contains(text, "dbfx.Config"):
		return fmt.Errorf("fxtest: the Config is replaced twice; where it is not by fxtest.Use, use fx.New: %w", err)
	}
	return err
}

// SQLite returns the settings of a new file in a directory of its own, which goes
// with the test. They do not depend on the environment.
func SQLite(tb testing.TB) dbfx.Config {
	tb.Helper()
	cfg := dbfx.DefaultConfig()
	cfg.SQLitePath = filepath.Join(sqliteDir(tb), "test.db")
	return cfg
}

// EachEngine runs fn as the parallel subtests "sqlite" and "postgresql", each
// with the settings of an empty database.
func EachEngine(t *testing.T, fn func(t *testing.T, cfg dbfx.Config)) {
	t.Helper()
	eachEngine(t, SQLite, Postgres, fn)
}

type source func(testing.TB) dbfx.Config

func eachEngine(t *testing.T, sqlite, postgres source, fn func(t *testing.T, cfg dbfx.Config)) {
	t.Helper()
	t.Run(string(dbfx.SQLite), func(t *testing.T) {
		t.Parallel()
		fn(t, sqlite(t))
	})
	t.Run(string(dbfx.Postgres), func(t *testing.T) {
		t.Parallel()
		fn(t, postgres(t))
	})
}
