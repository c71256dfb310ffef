package fxtest_test

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

// TestHealth_AFullDiskIsSaidAndUnroutesNoOne has a file system of a megabyte, in a
// namespace of the child's own, with which it goes.
func TestHealth_AFullDiskIsSaidAndUnroutesNoOne(t *testing.T) {
	if childPart() {
		fillADisk(t)
		return
	}
	t.Parallel()
	cmd := child(t, "FXTEST_PATH="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Getuid() != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWNS | syscall.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		}
	}
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Skip("no namespace of mounts to be had: ", err)
	}
	err := cmd.Wait()
	switch {
	case err != nil:
		t.Errorf("%v\n%s", err, &out)
	case strings.Contains(out.String(), "--- SKIP"):
		t.Skip(out.String())
	}
}

func fillADisk(t *testing.T) {
	dir := os.Getenv("FXTEST_PATH")
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		t.Skip("mounts cannot be made private: ", err)
	}
	if err := syscall.Mount("none", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skip("nothing can be mounted: ", err)
	}
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 300<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := dbfx.DefaultConfig()
	cfg.SQLitePath = filepath.Join(dir, "app.db")
	supply, logs := logger()
	app := fxtest.New(t, fxtest.Use(cfg), supply)
	if _, err := app.DB.ExecContext(t.Context(), "create table kv (k text)"); err != nil {
		t.Fatal(err)
	}
	write := func() error {
		return app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
			_, err := tx.ExecContext(ctx, "insert into kv values ($1)", strings.Repeat("x", 3000))
			return err
		})
	}
	for i := 0; ; i++ {
		if err := write(); err != nil {
			if class := dbfx.ErrorClass(err); class != "disk full" {
				t.Errorf("got %q of %v", class, err)
			}
			break
		}
		if i == 1000 {
			t.Fatal("the disk was never full")
		}
	}
	var code int
	var body string
	eventually(t, "readiness says that nothing is written", func() bool {
		code, body = get(t, app, http.MethodGet, "/readyz")
		return strings.Contains(body, "the database takes no writes: disk full")
	})
	if code != http.StatusOK || !strings.Contains(body, `"warn"`) {
		t.Errorf("reads are still served: got %d %s", code, body)
	}
	if code, body := get(t, app, http.MethodGet, "/writez"); code != http.StatusServiceUnavailable {
		t.Errorf("/writez: got %d %s", code, body)
	}
	var n int
	if err := app.DB.QueryRowContext(t.Context(), "select count(*) from kv").Scan(&n); err != nil || n == 0 {
		t.Errorf("reads: got %d, %v", n, err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	eventually(t, "readiness is well", func() bool {
		_, body = get(t, app, http.MethodGet, "/readyz")
		return strings.Contains(body, `"pass"`)
	})
	if code, body := get(t, app, http.MethodGet, "/writez"); code != http.StatusOK {
		t.Errorf("/writez: got %d %s", code, body)
	}
	if err := write(); err != nil {
		t.Error(err)
	}
	eventually(t, "the log has both", func() bool {
		return len(lines(logs, dbfx.EventNoWrites)) == 1 && len(lines(logs, dbfx.EventWritesAgain)) == 1
	})
}
