package fxtest_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

// child runs this very test in a process of its own, where childPart is true.
func child(t *testing.T, env ...string) *exec.Cmd {
	top, _, _ := strings.Cut(t.Name(), "/")
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+top+"$", "-test.v")
	for _, pair := range os.Environ() {
		if !strings.HasPrefix(pair, "CI=") && !strings.HasPrefix(pair, "DBFX_TEST_") {
			cmd.Env = append(cmd.Env, pair)
		}
	}
	cmd.Env = append(cmd.Env, append(env, "FXTEST_CHILD=1")...)
	return cmd
}

func childPart() bool { return os.Getenv("FXTEST_CHILD") == "1" }

func TestPostgres_ServerEndsWithItsProcess(t *testing.T) {
	if childPart() {
		fxtest.Postgres(t)
		pid, dir := fxtest.Postmaster(t)
		fmt.Printf("\nserver %d %s\n", pid, dir)
		switch os.Getenv("FXTEST_END") {
		case "panic":
			panic("the test binary panics")
		case "exit":
			os.Exit(0)
		}
		select {} // until it is killed
	}
	t.Parallel()
	fxtest.Postmaster(t) // skips where there is no private server
	for _, end := range []string{"kill", "panic", "exit"} {
		t.Run(end, func(t *testing.T) {
			t.Parallel()
			cmd := child(t, "FXTEST_END="+end)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			var pid int
			var dir string
			for lines := bufio.NewScanner(out); dir == "" && lines.Scan(); {
				_, _ = fmt.Sscanf(lines.Text(), "server %d %s", &pid, &dir)
			}
			if pid == 0 {
				t.Fatal("the child did not say its server")
			}
			if end == "kill" {
				_ = cmd.Process.Kill()
			}
			_ = cmd.Wait()
			deadline := time.Now().Add(30 * time.Second)
			for {
				_, statErr := os.Stat(dir)
				if errors.Is(statErr, os.ErrNotExist) && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
					return
				}
				if time.Now().After(deadline) {
					t.Fatalf("server %d or its folder %s is still there", pid, dir)
				}
				time.Sleep(10 * time.Millisecond)
			}
		})
	}
}

func TestPostgres_SkipsOrFailsWithoutAServer(t *testing.T) {
	if childPart() {
		fxtest.Postgres(t)
		return
	}
	t.Parallel()
	tests := map[string]struct{ env, wantIn string }{
		"Locally":  {"X=", "--- SKIP: TestPostgres_Skips"},
		"CI":       {"CI=true", "--- FAIL: TestPostgres_Skips"},
		"Required": {"DBFX_TEST_REQUIRE_POSTGRES=1", "--- FAIL: TestPostgres_Skips"},
		"BadURL":   {"DBFX_TEST_POSTGRES_URL=mysql://u:hunter2@h/d", "DBFX_TEST_POSTGRES_URL: want"},
		"NoServer": {fmt.Sprintf("DBFX_TEST_POSTGRES_URL=postgres://u:hunter2@127.0.0.1:%d/d", fxtest.FreePort(t)), "--- FAIL: TestPostgres_Skips"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, _ := child(t, "DBFX_TEST_PGBIN=/nowhere", tt.env).CombinedOutput()
			if !strings.Contains(string(out), tt.wantIn) || strings.Contains(string(out), "hunter2") {
				t.Errorf("want %q in\n%s", tt.wantIn, out)
			}
		})
	}
}

func TestPostgres_LeakedConnectionFailsItsTest(t *testing.T) {
	if childPart() {
		cfg := fxtest.Postgres(t)
		if _, err := pgx.Connect(t.Context(), cfg.URL()); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Parallel()
	fxtest.Postmaster(t)
	out, err := child(t).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "left 1 connections") || !strings.Contains(string(out), "idle since") {
		t.Errorf("got %v\n%s", err, out)
	}
}

func TestPostgres_ExternalServer(t *testing.T) {
	if childPart() {
		fxtest.Postgres(t)
		return
	}
	t.Parallel()
	fxtest.Postmaster(t)
	cfg := fxtest.NewServer(t).Database(t)
	out, err := child(t, "DBFX_TEST_POSTGRES_URL="+cfg.URL()).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestPostgres_ExternalServer") {
		t.Errorf("got %v\n%s", err, out)
	}
}

// TestPostgres_AnExternalServerIsSharedWithOtherRoles: what their runs have left is
// not this one's to drop.
func TestPostgres_AnExternalServerIsSharedWithOtherRoles(t *testing.T) {
	if childPart() {
		fxtest.Postgres(t)
		return
	}
	t.Parallel()
	fxtest.Postmaster(t)
	cfg := fxtest.NewServer(t).Database(t)
	admin, err := pgx.Connect(t.Context(), cfg.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = admin.Close(t.Context()) }()
	for _, query := range []string{"create database dbfx_t_ofanotherrun_1", "create role tester login createdb password 'secret'"} {
		if _, err := admin.Exec(t.Context(), query); err != nil {
			t.Fatal(err)
		}
	}
	cfg.User, cfg.Password = "tester", dbfx.NewSecret("secret")
	out, err := child(t, "DBFX_TEST_POSTGRES_URL="+cfg.URL()).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestPostgres_AnExternal") {
		t.Errorf("got %v\n%s", err, out)
	}
}

func TestPostgres_ManyTestsAtOnceAreIsolated(t *testing.T) {
	t.Parallel()
	for i := range 30 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			app := fxtest.New(t, fxtest.Use(fxtest.Postgres(t)))
			if _, err := app.DB.ExecContext(t.Context(), "create table t (x integer)"); err != nil {
				t.Error(err)
			}
		})
	}
}
