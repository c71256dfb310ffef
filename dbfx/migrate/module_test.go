package migrate_test

import (
	"context"
	"database/sql"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"

	"go.uber.org/fx"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/dbfx/migrate"
	"github.com/sergas/dbkit/fxtest"
)

// ready asks /readyz.
func ready(t *testing.T, h *dbfx.Health) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/readyz", nil))
	return w.Code, strings.TrimSpace(w.Body.String())
}

func TestModule_MigratesBeforeWhatStandsBeforeIt(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		sees := errors.New("was not started")
		user := fx.Module("user", fx.Invoke(func(lc fx.Lifecycle, db *sql.DB) {
			lc.Append(fx.StartHook(func(ctx context.Context) error {
				sees = db.QueryRowContext(ctx, "select count(*) from users").Scan(new(int))
				return nil
			}))
		}))
		var m *migrate.Migrator
		app := fx.New(user, migrate.Module(files("migrations/00001_first.sql", usersAndNotes)), dbfx.Module, fxtest.Use(cfg), fx.Populate(&m), fx.NopLogger)
		if err := app.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if sees != nil {
			t.Error("what stands before the module saw no table:", sees)
		}
		if s, err := m.Status(t.Context()); err != nil || s.Version != 1 {
			t.Errorf("got %+v, %v", s, err)
		}
		if err := app.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestModule_ReadinessKnowsPendingAndAhead(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		old := files("00001_a.sql", "create table a (id integer);")
		two := files("00001_a.sql", "create table a (id integer);", "00002_b.sql", "create table b (id integer);")
		app := fxtest.New(t, fxtest.Use(cfg), migrate.Module(two, migrate.WithMode(migrate.Off)))
		if code, body := ready(t, app.Health); code != 503 || body != `{"status":"fail","output":"2 pending migrations, the first is 00001_a.sql"}` {
			t.Errorf("pending: got %d %s", code, body)
		}
		open(t, cfg).up(t, two) // by another process
		waitFor(t, func() bool {
			code, _ := ready(t, app.Health)
			return code == 200
		})
		// A program that was rolled back finds a schema that is ahead of it.
		back := fxtest.New(t, fxtest.Use(cfg), migrate.Module(old))
		if code, body := ready(t, back.Health); code != 200 {
			t.Errorf("ahead: got %d %s", code, body)
		}
		report := back.Health.Check(t.Context())
		if len(report.Checks) != 1 || report.Checks[0].Figures["version"] != 2 || report.Checks[0].Figures["latest"] != 1 || report.Checks[0].Figures["pending"] != 0 {
			t.Errorf("the figures are %+v", report.Checks)
		}
	})
}

func TestModule_ModesAndFaults(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		opt  fx.Option
		want []string
	}{
		"CheckFailsWhenPending": {migrate.Module(files("00001_a.sql", "create table a (id integer);"), migrate.WithMode(migrate.Check)), []string{"pending", "00001_a.sql"}},
		"NoFileSystem":          {migrate.Module(nil), []string{"file system"}},
		"NoFiles":               {migrate.Module(fstest.MapFS{}), []string{".sql"}},
		"NoNumber":              {migrate.Module(files("schema.sql", "select 1;")), []string{"schema.sql", "00001_name.sql"}},
		"SameVersion":           {migrate.Module(files("1_a.sql", "select 1;", "00001_b.sql", "select 1;")), []string{"1_a.sql", "00001_b.sql"}},
		"NoAnnotation":          {migrate.Module(fstest.MapFS{"1_a.sql": {Data: []byte("select 1;")}}), []string{"1_a.sql:1", "+goose Up"}},
		"NoSemicolon":           {migrate.Module(files("1_a.sql", "select 1")), []string{"1_a.sql:2", "semicolon"}},
		"NoEngine":              {migrate.Module(files("postgresql/1_a.sql", "select 1;")), []string{"sqlite"}},
		"BadMode":               {migrate.Module(files("1_a.sql", "select 1;"), migrate.WithMode("maybe")), []string{"run, check or off"}},
		"BadTable":              {migrate.Module(files("1_a.sql", "select 1;"), migrate.Table("a; drop")), []string{"table"}},
		"Commit":                {migrate.Module(files("1_a.sql", "select 1;\n-- +goose StatementBegin\nselect 2;\ncommit;\n-- +goose StatementEnd")), []string{"1_a.sql:5", "COMMIT", "NO TRANSACTION"}},
		"CutTrigger":            {migrate.Module(files("1_a.sql", "create table t (n integer);\ncreate trigger g after insert on t begin\n  delete from t;\n  select 1;\nend;")), []string{"1_a.sql:3", "StatementBegin"}},
		"CutText":               {migrate.Module(files("1_a.sql", "create table t (n text);\ninsert into t values ('a;\nb');")), []string{"1_a.sql:3", "StatementBegin"}},
		"CapitalLetters":        {migrate.Module(files("1_a.sql", "select 1;", "2_b.SQL", "select 1;")), []string{"2_b.SQL"}},
		"LongLine":              {migrate.Module(files("1_a.sql", "select 1;\nselect '"+strings.Repeat("x", 4<<20)+"';")), []string{"1_a.sql:3", "4 MiB"}},
		"BadStatement":          {migrate.Module(files("1_a.sql", "select nosuch;")), []string{"migrate: ", "1_a.sql:2", "nosuch"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			app := fx.New(dbfx.Module, fxtest.Use(fxtest.SQLite(t)), tt.opt, fx.NopLogger)
			err := app.Start(t.Context())
			if err == nil {
				t.Fatal("it started")
			}
			contains(t, err.Error(), tt.want...)
		})
	}
}

func TestModule_OneFolderForEachEngineAndANamedDatabase(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		fsys := files("db/sqlite/1_a.sql", "create table of_sqlite (id integer);", "db/postgresql/1_a.sql", "create table of_postgresql (id integer);")
		var db *sql.DB
		var m *migrate.Migrator
		app := fx.New(dbfx.Named("reports"), fxtest.UseNamed("reports", cfg), migrate.Module(fsys, migrate.ForDatabase("reports")), fx.NopLogger,
			fx.Populate(fx.Annotate(&db, fx.ParamTags(`name:"reports"`)), fx.Annotate(&m, fx.ParamTags(`name:"reports"`))))
		if err := app.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := db.QueryRowContext(t.Context(), "select count(*) from of_"+string(cfg.Dialect())).Scan(new(int)); err != nil {
			t.Error(err)
		}
		if err := app.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestModule_GraphIsValid(t *testing.T) {
	t.Parallel()
	if err := fx.ValidateApp(fx.NopLogger, dbfx.Module, migrate.Module(files("1_a.sql", "select 1;")),
		dbfx.Named("b"), migrate.Module(files("1_a.sql", "select 1;"), migrate.ForDatabase("b"))); err != nil {
		t.Error(err)
	}
}

func TestSeeds_RunOnceInDevelopmentAlone(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		seeds := fstest.MapFS{"seeds/1_users.sql": {Data: []byte("insert into users values (1, 'a'); insert into users values (2, 'b');")}}
		opts := []migrate.Option{migrate.Seeds(seeds)}
		fsys := files("00001_first.sql", usersAndNotes)
		cfg.Env = "production"
		db := open(t, cfg)
		fxtest.New(t, fxtest.Use(cfg), migrate.Module(fsys, opts...))
		if n := db.count(t, "select count(*) from users"); n != 0 {
			t.Errorf("%d users in production", n)
		}
		if _, err := db.migrator(t, fsys, opts...).Seed(t.Context()); !errors.Is(err, migrate.ErrSeeds) {
			t.Error("Seed in production:", err)
		}
		cfg.Env = "development"
		for range 3 {
			fxtest.New(t, fxtest.Use(cfg), migrate.Module(fsys, opts...))
		}
		if n := db.count(t, "select count(*) from users"); n != 2 {
			t.Errorf("%d users, want 2", n)
		}
	})
}

func TestModule_TheModeIsThatOfTheSettingsUnlessGiven(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		setting dbfx.Migrations
		opts    []migrate.Option
		fails   bool
		tables  int
	}{
		"Empty":    {"", nil, false, 1},
		"Check":    {dbfx.MigrationsCheck, nil, true, 0},
		"Off":      {dbfx.MigrationsOff, nil, false, 0},
		"CodeWins": {dbfx.MigrationsCheck, []migrate.Option{migrate.WithMode(migrate.Run)}, false, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := fxtest.SQLite(t)
			cfg.Migrations = tt.setting
			app := fx.New(dbfx.Module, fxtest.Use(cfg), migrate.Module(files("1_a.sql", "create table a (n integer);"), tt.opts...), fx.NopLogger)
			if err := app.Start(t.Context()); (err != nil) != tt.fails {
				t.Fatal(err)
			}
			if err := app.Stop(t.Context()); err != nil {
				t.Error(err)
			}
			if n := open(t, cfg).count(t, "select count(*) from sqlite_schema where name = 'a'"); n != tt.tables {
				t.Errorf("%d tables, want %d", n, tt.tables)
			}
		})
	}
}

// TestModule_TheFiguresAreKnownWithoutAProbe: for the page and the metrics.
func TestModule_TheFiguresAreKnownWithoutAProbe(t *testing.T) {
	t.Parallel()
	app := fxtest.New(t, fxtest.Use(fxtest.SQLite(t)), migrate.Module(files("1_a.sql", "create table a (n integer);")))
	waitFor(t, func() bool { return len(app.Health.Last().Checks) == 1 })
	if got := app.Health.Last().Checks[0].Figures; got["version"] != 1 || got["pending"] != 0 {
		t.Errorf("got %v", got)
	}
}
