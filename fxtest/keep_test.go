//go:build unix

package fxtest_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

// printed is the command that begins with a word in the output of a test, to the
// end of its line.
func printed(t *testing.T, out []byte, word string) string {
	t.Helper()
	_, rest, found := strings.Cut(string(out), ": "+word)
	if !found {
		t.Fatalf("no command with %s in\n%s", word, out)
	}
	line, _, _ := strings.Cut(rest, "\n")
	return word + line
}

// lookInto runs a printed command, which opens a database, as a shell does, and has it
// count the evidence.
func lookInto(t *testing.T, command string, env ...string) string {
	t.Helper()
	program, _, _ := strings.Cut(command, " ")
	if _, err := exec.LookPath(program); err != nil {
		t.Logf("no %s to look with", program)
		return "0"
	}
	if program == "psql" {
		command += " -At"
	}
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", command)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdin = strings.NewReader("select count(*) from evidence;\n")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%s: %v: %s", command, err, out)
	}
	return strings.TrimSpace(string(out))
}

// failsWith is a test that fails and leaves a table.
func failsWith(t *testing.T, cfg dbfx.Config) {
	app := fxtest.New(t, fxtest.Use(cfg))
	if _, err := app.DB.ExecContext(t.Context(), "create table evidence (x integer)"); err != nil {
		t.Fatal(err)
	}
	t.Error("it fails")
}

func TestPostgres_FailedTestKeepsItsDatabaseUntilTheNextRun(t *testing.T) {
	if childPart() {
		app := fxtest.New(t, fxtest.Use(fxtest.Postgres(t)))
		if _, err := app.DB.ExecContext(t.Context(), "create table evidence (x integer)"); err != nil {
			t.Fatal(err)
		}
		if os.Getenv("FXTEST_END") == "fail" {
			t.Error("it fails")
		}
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
	for end, want := range map[string]int{"fail": 1, "pass": 0} {
		if end == "pass" {
			_, _ = child(t, "FXTEST_END=fail", "DBFX_TEST_POSTGRES_URL="+cfg.URL()).CombinedOutput() // which leaves one
		}
		out, _ := child(t, "FXTEST_END="+end, "DBFX_TEST_POSTGRES_URL="+cfg.URL()).CombinedOutput()
		var got int
		if err := admin.QueryRow(t.Context(), `select count(*) from pg_database where datname like 'dbfx\_t\_%' and datname <> current_database()`).Scan(&got); err != nil {
			t.Fatal(err)
		}
		if end == "fail" {
			if got := lookInto(t, printed(t, out, "psql "), "PGPASSWORD="+cfg.Password.Reveal()); got != "0" {
				t.Errorf("psql says %q", got)
			}
		}
		if got != want || strings.Contains(string(out), "kept until the next run: psql") != (want == 1) || strings.Contains(string(out), cfg.Password.Reveal()) {
			t.Errorf("%s: %d databases are left\n%s", end, got, out)
		}
	}
}

func TestPostgres_KeepsThePrivateServerOfAFailedTest(t *testing.T) {
	if childPart() {
		cfg := fxtest.Postgres(t)
		pid, dir := fxtest.Postmaster(t)
		fmt.Printf("\nserver %d %s\n", pid, dir)
		failsWith(t, cfg)
		return
	}
	t.Parallel()
	fxtest.Postmaster(t)
	out, _ := child(t, "DBFX_TEST_KEEP=1").CombinedOutput()
	_, text, _ := strings.Cut(string(out), "\nserver ")
	var pid int
	var dir string
	if _, err := fmt.Sscan(text, &pid, &dir); err != nil || !strings.HasPrefix(filepath.Base(dir), "dbfx-pg-") {
		t.Fatalf("%v in\n%s", err, out)
	}
	defer func() {
		_ = syscall.Kill(pid, syscall.SIGQUIT)
		_ = os.RemoveAll(dir)
	}()
	if got := lookInto(t, printed(t, out, "psql ")); got != "0" {
		t.Errorf("psql says %q", got)
	}
	end := printed(t, out, "kill ")
	if !strings.HasSuffix(end, "; rm -r '"+dir+"'") {
		t.Fatalf("it is not its folder that is to be removed: %s", end)
	}
	if out, err := exec.CommandContext(t.Context(), "/bin/sh", "-c", end).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%s: %v: %s", end, err, out)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its folder is left: %v", err)
	}
}

func TestSQLite_KeepsTheFileOfAFailedTest(t *testing.T) {
	if childPart() {
		failsWith(t, fxtest.SQLite(t))
		return
	}
	t.Parallel()
	place := t.TempDir() // what is kept goes with this test in any case
	out, _ := child(t, "DBFX_TEST_KEEP=1", "TMPDIR="+place).CombinedOutput()
	if got := lookInto(t, printed(t, out, "sqlite3 ")); got != "0" {
		t.Errorf("sqlite3 says %q", got)
	}
	end := printed(t, out, "rm -r ")
	if !strings.HasPrefix(end, "rm -r '"+place+"/dbfx-sqlite-") || strings.ContainsAny(end, ";&|") {
		t.Fatalf("it is not its folder that is to be removed: %s", end)
	}
	if out, err := exec.CommandContext(t.Context(), "/bin/sh", "-c", end).CombinedOutput(); err != nil {
		t.Errorf("%s: %v: %s", end, err, out)
	}
	if left, err := os.ReadDir(place); err != nil || len(left) > 0 {
		t.Errorf("%s left %v, %v", end, left, err)
	}
	if out, _ := child(t).CombinedOutput(); !strings.Contains(string(out), "run again with DBFX_TEST_KEEP=1") {
		t.Errorf("got\n%s", out)
	}
}

// TestSQLite_FilesEndWithTheirProcess: cleanups do not run where a process is killed.
func TestSQLite_FilesEndWithTheirProcess(t *testing.T) {
	if childPart() {
		app := fxtest.New(t)
		fmt.Printf("\nfolder %s\n", filepath.Dir(filepath.Dir(app.Config.SQLitePath)))
		switch os.Getenv("FXTEST_END") {
		case "panic":
			panic("the test binary panics")
		case "exit":
			os.Exit(0)
		}
		select {} // until it is killed
	}
	t.Parallel()
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
			var dir string
			for lines := bufio.NewScanner(out); dir == "" && lines.Scan(); {
				_, _ = fmt.Sscanf(lines.Text(), "folder %s", &dir)
			}
			if _, err := os.Stat(dir); err != nil && end == "kill" {
				t.Fatal(err)
			}
			if end == "kill" {
				_ = cmd.Process.Kill()
			}
			_ = cmd.Wait()
			deadline := time.Now().Add(30 * time.Second)
			for {
				_, statErr := os.Stat(dir)
				if errors.Is(statErr, os.ErrNotExist) {
					return
				}
				if time.Now().After(deadline) {
					t.Fatalf("its folder %s is still there", dir)
				}
				time.Sleep(10 * time.Millisecond)
			}
		})
	}
}

// TestPostgres_TwoRunsThroughTwoDatabasesOfOneServer: the second run must not take
// the first one's databases for those of a run that is gone.
func TestPostgres_TwoRunsThroughTwoDatabasesOfOneServer(t *testing.T) {
	if childPart() {
		_, name, _ := strings.Cut(strings.TrimPrefix(fxtest.Postgres(t).URL(), "postgres://"), "/")
		fmt.Printf("\ndatabase %s\n", name)
		_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
		return
	}
	t.Parallel()
	fxtest.Postmaster(t)
	first := fxtest.NewServer(t).Database(t)
	second := first
	second.Name = "elsewhere"
	conn, err := pgx.Connect(t.Context(), first.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	if _, err := conn.Exec(t.Context(), "create database elsewhere"); err != nil {
		t.Fatal(err)
	}
	long := child(t, "DBFX_TEST_POSTGRES_URL="+first.URL())
	in, err := long.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := long.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := long.Start(); err != nil {
		t.Fatal(err)
	}
	var name string
	lines := bufio.NewScanner(out)
	for name == "" && lines.Scan() {
		_, _ = fmt.Sscanf(strings.ReplaceAll(lines.Text(), "?", " "), "database %s", &name)
	}
	if out, err := child(t, "DBFX_TEST_POSTGRES_URL="+second.URL()).CombinedOutput(); err != nil {
		t.Errorf("the second run: %v\n%s", err, out)
	}
	var there bool
	if err := conn.QueryRow(t.Context(), "select exists (select from pg_database where datname = $1)", name).Scan(&there); err != nil || !there {
		t.Errorf("the first run's database %q is there: %v, %v", name, there, err)
	}
	_ = in.Close()
	for lines.Scan() {
	}
	if err := long.Wait(); err != nil {
		t.Error(err)
	}
}
