package fxtest_test

import (
	"context"
	"database/sql"
	"errors"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"go.uber.org/fx"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

func provideStarter(database, name string, run func(ctx context.Context, d *dbfx.Database) error) fx.Option {
	return fx.Provide(fx.Annotate(func() dbfx.Starter { return dbfx.Starter{Database: database, Name: name, Run: run} },
		fx.ResultTags(`group:"dbfx.starters"`)))
}

func TestStarter_RunsBeforeWhatDependsOnTheDatabaseInWhateverOrder(t *testing.T) {
	t.Parallel()
	var order []string
	user := fx.Module("user", fx.Invoke(func(lc fx.Lifecycle, _ *sql.DB) {
		lc.Append(fx.StartHook(func() { order = append(order, "user") }))
	}))
	app := fx.New(
		user, // stands before the database, and before the starter
		dbfx.Module,
		fxtest.Use(fxtest.SQLite(t)),
		provideStarter("", "schema", func(ctx context.Context, d *dbfx.Database) error {
			order = append(order, "starter")
			_, err := d.DB().ExecContext(ctx, "create table t (id integer)")
			return err
		}),
		provideStarter("reports", "elsewhere", func(context.Context, *dbfx.Database) error {
			order = append(order, "of another database")
			return nil
		}),
		fx.NopLogger,
	)
	if err := app.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := app.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if want := []string{"starter", "user"}; !slices.Equal(order, want) {
		t.Errorf("ran %v, want %v", order, want)
	}
}

func TestStarter_ErrorOrPanicFailsTheStartAndClosesTheDatabase(t *testing.T) {
	t.Parallel()
	for name, run := range map[string]func(context.Context, *dbfx.Database) error{
		"Error": func(context.Context, *dbfx.Database) error { return errors.New("no such luck") },
		"Panic": func(context.Context, *dbfx.Database) error { panic("no such luck") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var db *sql.DB
			app := fx.New(dbfx.Module, fxtest.Use(fxtest.SQLite(t)), provideStarter("", "seven", run), fx.Populate(&db), fx.NopLogger)
			err := app.Start(t.Context())
			if err == nil || !strings.Contains(err.Error(), "seven") || !strings.Contains(err.Error(), "no such luck") {
				t.Errorf("got %v", err)
			}
			if err := db.PingContext(t.Context()); err == nil {
				t.Error("the database is still open")
			}
		})
	}
}

func TestHealth_ChecksOfTheGraphDecideReadiness(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		run        func(context.Context) dbfx.CheckResult
		wantStatus int
		wantBody   string
	}{
		"Pass":  {func(context.Context) dbfx.CheckResult { return dbfx.CheckResult{Status: dbfx.Pass} }, 200, `{"status":"pass"}`},
		"Warn":  {func(context.Context) dbfx.CheckResult { return dbfx.CheckResult{Status: dbfx.Warn} }, 200, `{"status":"warn"}`},
		"Fail":  {func(context.Context) dbfx.CheckResult { return dbfx.CheckResult{Status: dbfx.Fail, Reason: "not yet"} }, 503, `{"status":"fail","output":"not yet"}`},
		"Panic": {func(context.Context) dbfx.CheckResult { panic("x") }, 503, `{"status":"fail","output":"the check mine panicked"}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			app := fxtest.New(t, fx.Provide(fx.Annotate(func(*dbfx.Sessions) dbfx.Check { return dbfx.Check{Name: "mine", Run: tt.run} },
				fx.ResultTags(`group:"dbfx.checks"`))))
			w := httptest.NewRecorder()
			app.Health.Ready().ServeHTTP(w, httptest.NewRequest("GET", "/readyz", nil))
			if got := strings.TrimSpace(w.Body.String()); w.Code != tt.wantStatus || got != tt.wantBody {
				t.Errorf("got %d %s, want %d %s", w.Code, got, tt.wantStatus, tt.wantBody)
			}
		})
	}
}
