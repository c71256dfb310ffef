package cli_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/dbfx/cli"
	"github.com/sergas/dbkit/fxtest"
)

var migrations = fstest.MapFS{"00001_t.sql": {Data: []byte("-- +goose Up\ncreate table t (id integer primary key);\n-- +goose Down\ndrop table t;\n")}}

// run runs a command on the database of cfg.
func run(t *testing.T, cfg dbfx.Config, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	url := cfg.URL()
	if path := cfg.File(); path != "" {
		url = "sqlite:///" + path
	}
	t.Setenv("DATABASE_URL", url)
	var out, errs bytes.Buffer
	app := cli.App{Name: "app db", Migrations: migrations, Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &errs}
	code = app.Run(context.Background(), args)
	return code, out.String(), errs.String()
}

// eachEngine is fxtest's without t.Parallel, which t.Setenv forbids.
func eachEngine(t *testing.T, fn func(t *testing.T, cfg dbfx.Config)) {
	t.Run("sqlite", func(t *testing.T) { fn(t, fxtest.SQLite(t)) })
	t.Run("postgresql", func(t *testing.T) { fn(t, fxtest.Postgres(t)) })
}

func TestMigrate_UpStatusPlanDown(t *testing.T) {
	eachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		for _, step := range []struct {
			args string
			code int
			want string
		}{
			{"check", cli.ExitOK, "pass: "},
			{"migrate status", cli.ExitPending, "1 pending"},
			{"migrate plan", cli.ExitOK, "create table t"},
			{"migrate", cli.ExitOK, "up 00001_t.sql"},
			{"migrate up", cli.ExitOK, "nothing to do"},
			{"migrate status", cli.ExitOK, "0 pending"},
			{"migrate to 0", cli.ExitOK, "down 00001_t.sql"},
			{"migrate baseline 1", cli.ExitOK, ""},
			{"migrate status", cli.ExitOK, "version 1 of 1"},
			{"migrate to 5", cli.ExitFailure, ""},
			{"migrate to x", cli.ExitSettings, ""},
			{"migrate sideways", cli.ExitSettings, ""},
			{"nonsense", cli.ExitSettings, ""},
			{"url -psql -file", cli.ExitSettings, ""},
			{"check now", cli.ExitSettings, ""},
			{"config now", cli.ExitSettings, ""},
			{"seed now", cli.ExitSettings, ""},
			{"help", cli.ExitOK, "usage: app db config"},
			{"migrate -h", cli.ExitOK, "baseline VERSION"},
			{"url -h", cli.ExitOK, ""},
		} {
			code, out, errs := run(t, cfg, "", strings.Fields(step.args)...)
			if code != step.code || !strings.Contains(out, step.want) {
				t.Errorf("%s: exit %d, want %d: %s%s", step.args, code, step.code, out, errs)
			}
		}
	})
}

func TestURL_IsMaskedUnlessAsked(t *testing.T) {
	for give, want := range map[string]map[string]string{
		"postgresql://u:hunter2%40@h:1/d?sslmode=require": {
			"":                    "postgres://u:***@h:1/d?sslmode=require",
			"-psql -reveal":       "postgres://u:hunter2%40@h:1/d?sslmode=require",
			"-sqlalchemy":         "postgresql://u:***@h:1/d?sslmode=require",
			"-async":              "postgresql+asyncpg://u:***@h:1/d?ssl=require",
			"-sqlalchemy -reveal": "postgresql://u:hunter2%40@h:1/d?sslmode=require",
		},
		"postgresql://u:hunter2@a:1,b:2/d": {"": "postgres://u:***@a:1,b:2/d"},
	} {
		t.Setenv("DATABASE_URL", give)
		for flags, want := range want {
			var out, errs bytes.Buffer
			code := cli.App{Stdout: &out, Stderr: &errs}.Run(t.Context(), append([]string{"url"}, strings.Fields(flags)...))
			if got := strings.TrimSpace(out.String()); code != 0 || got != want {
				t.Errorf("url %s: exit %d, got %s, want %s: %s", flags, code, got, want, errs.String())
			}
		}
	}
}

func TestConfig_ShowsNoSecretAndExitsWith2(t *testing.T) {
	t.Setenv("DATABASE_URL", "postgresql://u:hunter2@h/d")
	t.Setenv("POOL_SIZE", "many")
	var out, errs bytes.Buffer
	app := cli.App{Stdout: &out, Stderr: &errs, Sources: map[string]string{"DATABASE_URL": "a file"}}
	for _, command := range []string{"config", "url", "check"} {
		if code := app.Run(t.Context(), []string{command}); code != cli.ExitSettings {
			t.Errorf("%s: exit %d, want 2", command, code)
		}
	}
	if all := out.String() + errs.String(); strings.Contains(all, "hunter2") || !strings.Contains(all, "POOL_SIZE") || !strings.Contains(all, "a file") {
		t.Errorf("got %s", all)
	}
}

// TestShell_HidesThePasswordFromTheCommandLine runs programs of the same names that
// write down what they are given.
func TestShell_HidesThePasswordFromTheCommandLine(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"psql", "sqlite3"} {
		script := "#!/bin/sh\necho \"$0\" \"$@\"\necho env=$PGPASSWORD\nexit 7\n"
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	t.Setenv("DATABASE_URL", "postgresql://u:hunter2@a:1,b:2/d?sslmode=disable")
	var out, errs bytes.Buffer
	code := cli.App{Stdout: &out, Stderr: &errs}.Run(t.Context(), []string{"shell", "-c", "select 1"})
	lines := strings.Split(out.String(), "\n")
	if code != 7 || strings.Contains(lines[0], "hunter2") || lines[1] != "env=hunter2" || !slices.Contains(strings.Fields(lines[0]), "postgres://u@a:1,b:2/d?sslmode=disable") {
		t.Errorf("exit %d: %s%s", code, out.String(), errs.String())
	}
	out.Reset()
	path := filepath.Join(dir, "a b.db")
	t.Setenv("DATABASE_URL", "sqlite:///"+path)
	if code := (cli.App{Stdout: &out, Stderr: &errs}).Run(t.Context(), []string{"shell"}); code != 7 || !strings.Contains(out.String(), path) {
		t.Errorf("exit %d: %s", code, out.String())
	}
}

func TestShell_Real(t *testing.T) {
	if _, err := exec.LookPath("psql"); err != nil && os.Getenv("CI") == "" {
		t.Skip("no psql")
	}
	cfg := fxtest.Postgres(t)
	code, out, errs := run(t, cfg, "select 40 + 2 as answer;\n", "shell", "-At")
	if code != 0 || strings.TrimSpace(out) != "42" {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
}
