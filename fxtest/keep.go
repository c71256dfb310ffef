package fxtest

import (
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/sergas/dbkit/dbfx"
)

// keepVariable makes a failed test leave its databases behind.
const keepVariable = "DBFX_TEST_KEEP"

func keeps() bool { return os.Getenv(keepVariable) == "1" }

// own is this process's folder for SQLite files. Its watchdog removes it when the
// process is gone, in whatever way.
var own struct {
	sync.Once
	dir  string    // "" where there can be no watchdog
	life io.Writer // a line to it lets the folder stay
}

func ownDir() string {
	own.Do(func() {
		dir, err := os.MkdirTemp("", "dbfx-sqlite-")
		if err != nil {
			return
		}
		life, err := startWatchdog(dir)
		if err != nil {
			_ = os.RemoveAll(dir)
			return
		}
		own.dir, own.life = dir, life
	})
	return own.dir
}

// sqliteDir returns a directory that goes with the test, but stays when the test
// failed and the developer wants to look.
func sqliteDir(tb testing.TB) string {
	tb.Helper()
	if ownDir() == "" {
		return tb.TempDir()
	}
	dir, err := os.MkdirTemp(own.dir, "")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		switch {
		case tb.Failed() && keeps():
			_, _ = io.WriteString(own.life, "keep\n")
			tb.Logf("fxtest: the database is kept: sqlite3 %s\n\tremove what this run has kept with: rm -r %s", quoted(filepath.Join(dir, "test.db")), quoted(own.dir))
			return
		case tb.Failed():
			tb.Logf("fxtest: the SQLite file goes with its test; run again with %s=1 to look into it", keepVariable)
		}
		_ = os.RemoveAll(dir) // what a leaked connection makes anew goes with the process
	})
	return dir
}

// quoted is a word of a shell's command line.
func quoted(word string) string {
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// kept reports whether the database of a failed test stays, and says how to open
// it.
func (s *server) kept(tb testing.TB, name string) bool {
	tb.Helper()
	switch {
	case !tb.Failed() || tb.Skipped():
		return false
	case s.shared:
		tb.Logf("fxtest: the database is kept until the next run: psql %s", quoted(address(s.config(name))))
		return true
	case keeps():
		_, _ = io.WriteString(s.life, "keep\n") // the watchdog goes, the server stays
		tb.Logf("fxtest: the database is kept: psql %s\n\tend its server with: kill -INT %d; while [ -e %[3]s/data/postmaster.pid ]; do sleep 0.1; done; rm -r %[3]s",
			quoted(s.config(name).URL()), s.postmaster(), quoted(s.dir()))
		return true
	}
	tb.Logf("fxtest: the database goes with its private server; run again with %s=1 to look into it", keepVariable)
	return false
}

// address is the URL without its password, which is the developer's own.
func address(cfg dbfx.Config) string {
	parsed, err := url.Parse(cfg.URL())
	if err != nil {
		return cfg.Name // err quotes the URL
	}
	parsed.User = url.User(parsed.User.Username())
	return parsed.String()
}

// dir is the folder of a private server.
func (s *server) dir() string { return filepath.Dir(filepath.Dir(s.pid)) }

// postmaster is the process of a private server, 0 if it has none.
func (s *server) postmaster() (pid int) {
	text, _ := os.ReadFile(s.pid)
	_, _ = fmt.Sscan(string(text), &pid)
	return pid
}
