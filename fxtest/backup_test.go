package fxtest_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

func TestBackup_IsOfOneMomentWhileTheServiceWrites(t *testing.T) {
	t.Parallel()
	app := fxtest.New(t)
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := app.DB.ExecContext(ctx, `create table kv (k text, v integer); insert into kv
		select hex(randomblob(200)), 0 from (with recursive n(i) as (select 1 union all select i + 1 from n where i < 40000) select i from n)`); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 2 { // each commit adds one to every row
		wg.Go(func() {
			for ctx.Err() == nil {
				_ = app.Sessions.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
					_, err := tx.ExecContext(ctx, "update kv set v = v + 1")
					return err
				})
			}
		})
	}
	path := filepath.Join(t.TempDir(), "copy of it.db")
	calls, last, total := 0, 0, 0
	err := app.Schema.Backup(ctx, path, func(done, of int) { calls, last, total = calls+1, done, of })
	cancel()
	wg.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if calls < 2 || last != total || total == 0 {
		t.Errorf("progress: %d calls, %d of %d pages", calls, last, total)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("got %v, %v", info, err)
	}
	cfg := dbfx.DefaultConfig()
	cfg.SQLitePath = path
	restored := fxtest.New(t, fxtest.Use(cfg))
	var rows, versions int
	var check string
	query := "select count(*), count(distinct v) from kv"
	if err := restored.DB.QueryRowContext(t.Context(), query).Scan(&rows, &versions); err != nil || rows != 40000 || versions != 1 {
		t.Errorf("got %d rows of %d moments, %v", rows, versions, err)
	}
	if err := restored.DB.QueryRowContext(t.Context(), "pragma integrity_check").Scan(&check); err != nil || check != "ok" {
		t.Errorf("integrity_check: %q, %v", check, err)
	}
	ended, end := context.WithCancelCause(t.Context())
	other := path + "2"
	err = app.Schema.Backup(ended, other, func(int, int) { end(errBoom) })
	wantIs(t, err, errBoom)
	if left, _ := filepath.Glob(other + "*"); len(left) != 0 {
		t.Errorf("a part was left: %v", left)
	}
}

func TestBackup_IsRefusedOnPostgres(t *testing.T) {
	t.Parallel()
	app := fxtest.New(t, fxtest.Use(fxtest.Postgres(t)))
	if err := app.Schema.Backup(t.Context(), filepath.Join(t.TempDir(), "x"), nil); err == nil || !strings.Contains(err.Error(), "pg_dump") {
		t.Errorf("got %v", err)
	}
}

// checkCopy opens the copy and counts the rows of kv.
func checkCopy(t *testing.T, path string, want int) {
	t.Helper()
	cfg := dbfx.DefaultConfig()
	cfg.SQLitePath = path
	app := fxtest.New(t, fxtest.Use(cfg))
	var rows int
	var check string
	if err := app.DB.QueryRowContext(t.Context(), "select count(*) from kv").Scan(&rows); err != nil || rows != want {
		t.Errorf("got %d rows, %v, want %d", rows, err, want)
	}
	if err := app.DB.QueryRowContext(t.Context(), "pragma integrity_check").Scan(&check); err != nil || check != "ok" {
		t.Errorf("integrity_check: %q, %v", check, err)
	}
}

// newKV starts an application with n rows in kv.
func newKV(t *testing.T, n int) *fxtest.App {
	t.Helper()
	app := fxtest.New(t)
	if _, err := app.DB.ExecContext(t.Context(), `create table kv (k text); insert into kv
		select hex(randomblob(200)) from (with recursive n(i) as (select 1 union all select i + 1 from n where i < $1) select i from n)`, n); err != nil {
		t.Fatal(err)
	}
	return app
}

func TestBackup_TwoToOnePathEndTruthfully(t *testing.T) {
	t.Parallel()
	const rows, at = 20000, 2 // View has at least two connections
	app := newKV(t, rows)
	dir := filepath.Join(t.TempDir(), "made", "for it")
	path := filepath.Join(dir, "copy.db")
	results := make([]error, at)
	var started, wg sync.WaitGroup
	started.Add(at)
	for i := range at {
		wg.Go(func() {
			first := true
			results[i] = app.Schema.Backup(t.Context(), path, func(int, int) {
				if first { // both have begun before one may end
					first = false
					started.Done()
					started.Wait()
				}
			})
		})
	}
	wg.Wait()
	published := 0
	for _, err := range results {
		switch {
		case err == nil:
			published++
		case !errors.Is(err, fs.ErrExist):
			t.Errorf("got %v, want one that says that the file exists", err)
		}
	}
	if published != 1 {
		t.Errorf("%d of %d backups say that they wrote the file: %v", published, at, results)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("want the copy alone, got %v, %v", left, err)
	}
	checkCopy(t, path, rows)
}

func TestBackup_ReplacesAndDeletesNothing(t *testing.T) {
	t.Parallel()
	app := newKV(t, 10)
	tests := []struct{ name, theirs string }{
		{"a file", ""}, {"a log beside it", "-wal"}, {"a journal beside it", "-journal"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "copy.db")
			keep := func(name string) {
				if err := os.WriteFile(name, []byte("somebody else's"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			keep(path + tt.theirs)
			keep(path + ".partial")
			if err := app.Schema.Backup(t.Context(), path, nil); !errors.Is(err, fs.ErrExist) {
				t.Errorf("got %v, want a refusal", err)
			}
			for _, name := range []string{path + tt.theirs, path + ".partial"} {
				if text, err := os.ReadFile(name); err != nil || string(text) != "somebody else's" {
					t.Errorf("%s: got %q, %v", name, text, err)
				}
			}
			if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 2 {
				t.Errorf("a part was left: %v", left)
			}
		})
	}
	t.Run("a dangling link", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "copy.db")
		if err := os.Symlink(path+"2", path); err != nil {
			t.Fatal(err)
		}
		if err := app.Schema.Backup(t.Context(), path, nil); !errors.Is(err, fs.ErrExist) {
			t.Errorf("got %v, want a refusal", err)
		}
	})
}

func TestBackup_AFileThatAppearsMeanwhileStays(t *testing.T) {
	t.Parallel()
	for _, suffix := range []string{"", "-wal"} {
		app := newKV(t, 10)
		path := filepath.Join(t.TempDir(), "copy.db")
		err := app.Schema.Backup(t.Context(), path, func(int, int) {
			if err := os.WriteFile(path+suffix, []byte("new"), 0o600); err != nil {
				t.Error(err)
			}
		})
		if text, readErr := os.ReadFile(path + suffix); !errors.Is(err, fs.ErrExist) || readErr != nil || string(text) != "new" {
			t.Errorf("got %v; the file is %q, %v", err, text, readErr)
		}
		if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 1 {
			t.Errorf("a part was left: %v", left)
		}
	}
}

func TestBackup_APanicLeavesNothing(t *testing.T) {
	t.Parallel()
	app := newKV(t, 10)
	path := filepath.Join(t.TempDir(), "copy.db")
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		_ = app.Schema.Backup(t.Context(), path, func(int, int) { panic("progress") })
	}()
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 0 {
		t.Errorf("a part was left: %v", left)
	}
	if err := app.Schema.Backup(t.Context(), path, nil); err != nil {
		t.Fatal(err)
	}
	checkCopy(t, path, 10)
}
