package fxtest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// folders are where the packages of Debian, RPM, Homebrew, MacPorts and
// Postgres.app put the server's programs.
var folders = []string{
	"/usr/lib/postgresql/*/bin",
	"/usr/pgsql-*/bin",
	"/usr/lib64/pgsql/bin",
	"/opt/homebrew/opt/postgresql@*/bin",
	"/usr/local/opt/postgresql@*/bin",
	"/opt/homebrew/bin",
	"/opt/local/lib/postgresql*/bin",
	"/Applications/Postgres.app/Contents/Versions/*/bin",
	"/usr/local/pgsql/bin",
}

// findBinaries returns the folder with initdb and postgres of the newest
// version: from DBFX_TEST_PGBIN, PATH, pg_config, or the usual folders.
func findBinaries() (string, error) {
	if dir := os.Getenv("DBFX_TEST_PGBIN"); dir != "" {
		if hasPrograms(dir) {
			return dir, nil
		}
		return "", fmt.Errorf("DBFX_TEST_PGBIN: no initdb and postgres in %s", dir)
	}
	var candidates []string
	if path, err := exec.LookPath("initdb"); err == nil {
		if real, err := filepath.EvalSymlinks(path); err == nil { // Debian puts links into PATH
			candidates = append(candidates, filepath.Dir(real))
		}
	}
	if out, err := exec.Command("pg_config", "--bindir").Output(); err == nil {
		candidates = append(candidates, strings.TrimSpace(string(out)))
	}
	for _, pattern := range folders {
		matches, err := filepath.Glob(pattern)
		if err != nil {
			continue
		}
		slices.SortFunc(matches, func(a, b string) int { return version(b) - version(a) })
		candidates = append(candidates, matches...)
	}
	for _, dir := range candidates {
		if hasPrograms(dir) {
			return dir, nil
		}
	}
	return "", errors.New("no initdb and postgres in PATH or in the usual folders; install PostgreSQL's server, or set DBFX_TEST_POSTGRES_URL, or DBFX_TEST_PGBIN to a folder such as the bin of npm's @embedded-postgres")
}

// version finds the number in a folder's name.
func version(dir string) int {
	digits := strings.FieldsFunc(dir, func(r rune) bool { return r < '0' || r > '9' })
	for _, text := range digits {
		if n, err := strconv.Atoi(text); err == nil {
			return n
		}
	}
	return 0
}

func hasPrograms(dir string) bool {
	for _, name := range []string{"initdb", "postgres"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.IsDir() {
			return false
		}
	}
	return true
}
