package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sergas/dbkit/dbfx/cli"
)

func TestRun_WithoutAService(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	file := filepath.Join(dir, "data", "app.db")
	t.Setenv("DATABASE_URL", "sqlite:///"+file)
	if err := os.MkdirAll("sql", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("sql/00001_t.sql", []byte("-- +goose Up\ncreate table t (id integer primary key);\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args string
		code int
		want string
	}{
		{"", cli.ExitSettings, "usage: db config"},
		{"-h", cli.ExitOK, "-dir string"},
		{"-nosuch", cli.ExitSettings, "-nosuch"},
		{"migrate", cli.ExitSettings, "migrations: no such file or directory; name it with -dir"},
		{"-dir sql migrate status", cli.ExitPending, "1 pending"},
		{"-dir sql migrate", cli.ExitOK, "up 00001_t.sql"},
		{"check", cli.ExitOK, "pass: sqlite"},
		{"url -file", cli.ExitOK, file},
		{"-name other url", cli.ExitOK, "sqlite"},
	} {
		var out bytes.Buffer
		code := run(t.Context(), strings.Fields(tt.args), &out, &out)
		if code != tt.code || !strings.Contains(out.String(), tt.want) {
			t.Errorf("db %s: exit %d, want %d with %q:\n%s", tt.args, code, tt.code, tt.want, out.String())
		}
		if _, err := os.Stat(file); err == nil && tt.args == "migrate" {
			t.Error("it made a database")
		}
	}
}
