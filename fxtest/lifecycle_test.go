package fxtest_test

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/fx"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

// logger records what dbfx logs.
func logger() (fx.Option, *observer.ObservedLogs) {
	core, logs := observer.New(zap.DebugLevel)
	return fx.Supply(zap.New(core)), logs
}

func startStop(t *testing.T, app *fx.App) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := app.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if err := app.Stop(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestModule_AloneStartsAndStopsTheDatabase(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		supply, logs := logger()
		app := fx.New(fx.NopLogger, dbfx.Module, fxtest.Use(cfg), supply)
		if logs.Len() != 0 {
			t.Error("a constructor did something worth a log line")
		}
		startStop(t, app)
		for _, message := range []string{"database started", "database stopped"} {
			if logs.FilterMessage(message).Len() != 1 {
				t.Errorf("want one line %q, got %v", message, logs.All())
			}
		}
	})
}

func TestModule_BuildsWithoutIO(t *testing.T) {
	t.Parallel()
	cfg := dbfx.DefaultConfig()
	cfg.SQLitePath = filepath.Join(t.TempDir(), "new", "dir", "a.db")
	app := fx.New(fx.NopLogger, dbfx.Module, fxtest.Use(cfg))
	if app.Err() != nil {
		t.Fatal(app.Err())
	}
	if _, err := os.Stat(filepath.Dir(filepath.Dir(cfg.SQLitePath))); !errors.Is(err, os.ErrNotExist) {
		t.Error("a constructor made the directory")
	}
	startStop(t, app)
	for path, mode := range map[string]os.FileMode{filepath.Dir(cfg.SQLitePath): 0o700 | os.ModeDir, cfg.SQLitePath: 0o600} {
		info, err := os.Stat(path)
		if err != nil || info.Mode() != mode {
			t.Errorf("%s: got %v, %v, want %v", path, info.Mode(), err, mode)
		}
	}
	for _, suffix := range []string{"-wal", "-shm"} {
		if _, err := os.Stat(cfg.SQLitePath + suffix); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still there after the stop", suffix)
		}
	}
}

func TestModule_GraphIsValid(t *testing.T) {
	t.Parallel()
	if err := fx.ValidateApp(fx.NopLogger, dbfx.Module, dbfx.Named("reports"), dbfx.Named("read-replica")); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"", "../x", "a b"} {
		if err := fx.ValidateApp(fx.NopLogger, dbfx.Named(name)); err == nil {
			t.Errorf("the name %q was accepted", name)
		}
	}
	err := fx.ValidateApp(fx.NopLogger, dbfx.Named("read-model"), dbfx.Named("Read_Model"))
	if err == nil || !strings.Contains(err.Error(), `variablesOf[name="READ_MODEL"]`) {
		t.Errorf("two names with one set of variables: got %v", err)
	}
}

func TestModule_StopIsSafeAtAnyTime(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		var db *sql.DB
		var sessions *dbfx.Sessions
		app := fx.New(fx.NopLogger, dbfx.Module, fxtest.Use(cfg), fx.Populate(&db, &sessions))
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := app.Stop(ctx); err != nil {
			t.Error("stop before start:", err)
		}
		startStop(t, app)
		if err := app.Stop(ctx); err != nil {
			t.Error("second stop:", err)
		}
		wantIs(t, app.Start(ctx), dbfx.ErrClosed)
		wantIs(t, sessions.Run(ctx, func(context.Context, *dbfx.Session) error { return nil }), dbfx.ErrClosed)
	})
}

func TestModule_FailedStartClosesEverything(t *testing.T) {
	t.Parallel()
	// goleak at the end of the binary sees what is left.
	var db *sql.DB
	cfg := dbfx.DefaultConfig()
	cfg.SQLitePath = t.TempDir() // a directory
	app := fx.New(fx.NopLogger, dbfx.Module, fxtest.Use(cfg), fx.Populate(&db))
	err := app.Start(t.Context())
	if err == nil || !strings.Contains(err.Error(), "DATABASE_PATH: "+cfg.SQLitePath+" is a directory") {
		t.Errorf("got %v, want the variable, the path and the reason", err)
	}
	if err := db.Ping(); err == nil {
		t.Error("the handle is open after a failed start")
	}
	if err := app.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestModule_LaterHookFailsAndTheDatabaseStops(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		var db *sql.DB
		app := fx.New(fx.NopLogger, dbfx.Module, fxtest.Use(cfg), fx.Populate(&db), fx.Invoke(func(lc fx.Lifecycle) {
			lc.Append(fx.StartHook(func() error { return errBoom }))
		}))
		wantIs(t, app.Start(t.Context()), errBoom)
		if err := db.Ping(); err == nil {
			t.Error("the handle is open after a failed start")
		}
	})
}

func TestModule_StartContextDoesNotOutliveTheStart(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		var db *sql.DB
		app := fx.New(fx.NopLogger, dbfx.Module, fxtest.Use(cfg), fx.Populate(&db))
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		if err := app.Start(ctx); err != nil {
			t.Fatal(err)
		}
		cancel()
		if err := db.PingContext(context.Background()); err != nil {
			t.Error(err)
		}
		if err := app.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

func TestModule_ReplacedDBIsUsedAndLeftOpen(t *testing.T) {
	t.Parallel()
	own := fxtest.New(t)
	var sessions *dbfx.Sessions
	app := fx.New(fx.NopLogger, dbfx.Module, fxtest.Use(fxtest.SQLite(t)), fx.Replace(own.DB), fx.Populate(&sessions))
	ctx := context.Background()
	if err := app.Start(ctx); err != nil {
		t.Fatal(err)
	}
	for _, run := range []func(context.Context, func(context.Context, *dbfx.Session) error, ...dbfx.SessionOption) error{sessions.Run, sessions.View} {
		err := run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
			var path string
			if err := tx.QueryRowContext(ctx, "select file from pragma_database_list").Scan(&path); err != nil {
				return err
			}
			if path != own.Config.SQLitePath {
				t.Errorf("the session is on %s, want the replaced handle's %s", path, own.Config.SQLitePath)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	if err := app.Stop(ctx); err != nil {
		t.Error(err)
	}
	if err := own.DB.Ping(); err != nil {
		t.Error("dbfx closed a handle that is not its own:", err)
	}
}

func TestModule_DecoratedConfigCounts(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "decorated.db")
	app := fx.New(fx.NopLogger, dbfx.Module, fx.Decorate(func(cfg dbfx.Config) dbfx.Config {
		cfg.DatabaseURL, cfg.Password, cfg.SQLitePath = dbfx.Secret{}, dbfx.Secret{}, path
		return cfg
	}))
	startStop(t, app)
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}

func TestNamed_StandsBesideTheDefault(t *testing.T) {
	t.Parallel()
	reports := fxtest.SQLite(t)
	var both struct {
		fx.In
		Main    *dbfx.Sessions
		MainDB  *sql.DB
		Reports *dbfx.Sessions `name:"reports"`
		DB      *sql.DB        `name:"reports"`
		Health  *dbfx.Health   `name:"reports"`
		Schema  *dbfx.Schema   `name:"reports"`
		Config  dbfx.Config    `name:"reports"`
	}
	app := fx.New(fx.NopLogger, dbfx.Module, dbfx.Named("reports"), fxtest.Use(fxtest.SQLite(t)),
		fx.Replace(fx.Annotate(reports, fx.ResultTags(`name:"reports"`))), fx.Populate(&both))
	ctx := context.Background()
	if err := app.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if both.Config != reports {
		t.Errorf("got %v, want %v", both.Config, reports)
	}
	err := both.Main.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
		if _, err := tx.ExecContext(ctx, "create table only_main (x integer)"); err != nil {
			return err
		}
		if both.Reports.FromContext(ctx) != nil || both.Main.FromContext(ctx) != tx {
			t.Error("two databases share a session")
		}
		return both.Reports.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
			_, err := tx.ExecContext(ctx, "create table only_reports (x integer)")
			return err
		})
	})
	if err != nil {
		t.Error(err)
	}
	if _, err := both.DB.Exec("select * from only_main"); err == nil {
		t.Error("both names are one database")
	}
	if report := both.Health.Check(ctx); !report.Healthy() {
		t.Error(report)
	}
	if err := app.Stop(ctx); err != nil {
		t.Error(err)
	}
}

func TestOpen_ErrorsNameTheSettingAndShowNoSecret(t *testing.T) {
	t.Parallel()
	good := fxtest.Postgres(t)
	with := func(change func(*dbfx.Config)) dbfx.Config {
		cfg := good
		change(&cfg)
		return cfg
	}
	tests := map[string]struct {
		cfg     dbfx.Config
		wantIn  []string
		booting bool // Open waits for it
	}{
		"WrongPassword": {with(func(c *dbfx.Config) { c.Password = dbfx.NewSecret("hunter2") }), []string{"28P01", "DATABASE_PASSWORD"}, false},
		"NoDatabase":    {with(func(c *dbfx.Config) { c.Name = "nowhere" }), []string{"3D000", "DATABASE_NAME", `"nowhere"`}, false},
		"NoTLS":         {with(func(c *dbfx.Config) { c.SSLMode = "require" }), []string{"sslmode", "TLS"}, false},
		"Down": {with(func(c *dbfx.Config) { c.Port = closedPort(t); c.Password = dbfx.NewSecret("hunter2") }),
			[]string{"refused", "DATABASE_PORT", "gave up"}, true},
		"NoCertificate": {with(func(c *dbfx.Config) {
			c.DatabaseURL = dbfx.NewSecret("postgresql://u:hunter2@127.0.0.1/d?sslmode=verify-full&sslrootcert=/no/ca.pem")
		}), []string{"sslrootcert", "/no/ca.pem"}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := tt.cfg
			cfg.StartTimeout = 30 * time.Second
			if tt.booting {
				cfg.StartTimeout = 3 * time.Second
			}
			start := time.Now()
			_, err := dbfx.Open(context.Background(), cfg)
			if err == nil {
				t.Fatal("opened")
			}
			if !tt.booting && time.Since(start) > 10*time.Second {
				t.Error("it was tried again")
			}
			for _, want := range tt.wantIn {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %q, want %q in it", err, want)
				}
			}
			if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), cfg.Password.Reveal()) {
				t.Errorf("shows the password: %v", err)
			}
		})
	}
}

// closedPort returns a port that refuses, and that no one takes meanwhile.
func closedPort(t *testing.T) int { return fxtest.FreePort(t) }

func TestOpen_SQLiteErrorsNameThePath(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	garbage := filepath.Join(dir, "garbage.db")
	if err := os.WriteFile(garbage, []byte(strings.Repeat("no database ", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct{ path, wantIn string }{
		"Directory":     {dir, "is a directory"},
		"NotADatabase":  {garbage, "is not a SQLite database"},
		"UnderAFile":    {filepath.Join(file, "a.db"), "not a directory"},
		"UnderADevice":  {"/dev/null/x/a.db", "not a directory"},
		"Proc":          {"/proc/nothing/a.db", "/proc/nothing"},
		"Device":        {"/dev/null", "not a regular file"},
		"NameTooLong":   {filepath.Join(dir, strings.Repeat("x", 300)), "too long"},
		"NUL":           {dir + "/a\x00b", "NUL"},
		"TrailingSlash": {dir + "/a/", "the path of a file"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := dbfx.DefaultConfig()
			cfg.SQLitePath = tt.path
			_, err := dbfx.Open(t.Context(), cfg)
			if err == nil || !strings.Contains(err.Error(), tt.wantIn) || !strings.Contains(err.Error(), "DATABASE_PATH") {
				t.Errorf("got %v, want DATABASE_PATH and %q in it", err, tt.wantIn)
			}
		})
	}
}

func TestOpen_OddPathsAreThatVeryFile(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"a b.db", "q?mark.db", "ha#sh.db", "per%41cent.db", "+&;.db", "ünïcode 漢.db", `quote'".db`, "a:b.db", "back\\slash.db", "new\nline.db"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := dbfx.DefaultConfig()
			cfg.SQLitePath = filepath.Join(t.TempDir(), name)
			viaURL := dbfx.DefaultConfig()
			viaURL.DatabaseURL = dbfx.NewSecret(cfg.URL())
			for i, c := range []dbfx.Config{cfg, viaURL} {
				db, err := dbfx.Open(t.Context(), c)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := db.DB().ExecContext(t.Context(), "create table if not exists t (x integer)"); err != nil {
					t.Error(err)
				}
				if err := db.Close(t.Context()); err != nil {
					t.Error(err)
				}
				entries, err := os.ReadDir(filepath.Dir(cfg.SQLitePath))
				if err != nil || len(entries) != 1 || entries[0].Name() != name {
					t.Errorf("%d: got %v, %v, want just %q", i, entries, err, name)
				}
			}
		})
	}
}

func TestNamed_ErrorsNameItsOwnVariables(t *testing.T) {
	t.Parallel()
	broken := dbfx.DefaultConfig()
	broken.SQLitePath = t.TempDir()
	down := dbfx.DefaultConfig()
	down.Password, down.Port, down.StartTimeout = dbfx.NewSecret("x"), closedPort(t), 3*time.Second
	for want, cfg := range map[string]dbfx.Config{"REPORTS_DATABASE_PATH: ": broken, " REPORTS_DATABASE_PORT": down} {
		app := fx.New(fx.NopLogger, dbfx.Named("reports"), fx.Replace(fx.Annotate(cfg, fx.ResultTags(`name:"reports"`))))
		if err := app.Start(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
}
