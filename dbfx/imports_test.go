package dbfx

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// imports calls fn for each import of each file below dir that is no test.
func imports(t *testing.T, dir string, fn func(file, path string)) {
	t.Helper()
	err := filepath.WalkDir(dir, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(file) != ".go" || strings.HasSuffix(file, "_test.go") {
			return err
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range parsed.Imports {
			fn(filepath.ToSlash(file), strings.Trim(spec.Path.Value, `"`))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestImports_GoOneWay(t *testing.T) {
	t.Parallel()
	fxFiles := map[string]bool{"module.go": true, "provide.go": true, "lifecycle.go": true, "migrate/module.go": true}
	seen := 0
	imports(t, ".", func(file, path string) {
		switch {
		case strings.HasPrefix(path, "go.uber.org/fx"):
			seen++
			if !fxFiles[filepath.Base(file)] {
				t.Errorf("%s imports Fx; only module.go, provide.go and lifecycle.go may", file)
			}
		case strings.HasPrefix(path, "github.com/pressly/") && !strings.HasPrefix(file, "migrate/"):
			t.Errorf("%s imports %s; who has no migrations must not link goose", file, path)
		case strings.HasSuffix(path, "/dbfx/migrate") && !strings.HasPrefix(file, "migrate/") && !strings.HasPrefix(file, "cli/"):
			t.Errorf("%s imports %s", file, path)
		case strings.HasPrefix(path, "github.com/jackc/") && !strings.HasPrefix(file, "internal/postgres/"),
			strings.HasPrefix(path, "modernc.org/") && !strings.HasPrefix(file, "internal/sqlite/"):
			t.Errorf("%s imports %s; a driver is its engine's", file, path)
		case optional(path) && !strings.Contains(file, "/") || optional(path) && strings.HasPrefix(file, "internal/"):
			t.Errorf("%s imports %s, which whoever imports dbfx alone must not link", file, path)
		case strings.HasPrefix(file, "internal/") && path == "github.com/sergas/dbkit/dbfx":
			t.Errorf("%s imports dbfx", file)
		}
	})
	if seen == 0 {
		t.Error("the test saw no import of Fx")
	}
}

// optional reports whether path belongs to the packages that a user adds by choice.
func optional(path string) bool {
	for _, prefix := range []string{
		"github.com/prometheus/", "go.opentelemetry.io/", "github.com/pressly/",
		"github.com/sergas/dbkit/dbfx/metrics", "github.com/sergas/dbkit/dbfx/tracing", "github.com/sergas/dbkit/dbfx/status",
	} {
		if strings.HasPrefix(path, prefix) {
			return true
		}
	}
	return false
}

// linked are the modules that come with dbfx: two drivers, Fx, zap and envconfig,
// and what those need. docs/support.md counts them.
var linked = []string{
	"github.com/dustin/go-humanize", "github.com/google/uuid", "github.com/jackc/pgpassfile", "github.com/jackc/pgservicefile",
	"github.com/jackc/pgx/v5", "github.com/jackc/puddle/v2", "github.com/kelseyhightower/envconfig", "github.com/remyoudompheng/bigfft",
	"github.com/sergas/dbkit", "go.uber.org/dig", "go.uber.org/fx", "go.uber.org/multierr", "go.uber.org/zap", "golang.org/x/sync",
	"golang.org/x/sys", "golang.org/x/text", "modernc.org/libc", "modernc.org/mathutil", "modernc.org/memory", "modernc.org/sqlite",
}

// TestImports_LinkTheseModulesAlone: fxtest and the status page bring none of
// their own.
func TestImports_LinkTheseModulesAlone(t *testing.T) {
	t.Parallel()
	program, err := exec.LookPath("go")
	if err != nil {
		t.Skip("no go to ask")
	}
	for _, dir := range []string{".", "../fxtest", "./status"} {
		list := exec.CommandContext(t.Context(), program, "list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", dir)
		list.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64") // others link one or two more
		out, err := list.Output()
		if err != nil {
			t.Fatal(err)
		}
		found := strings.Fields(string(out))
		slices.Sort(found)
		for _, module := range slices.Compact(found) {
			if !slices.Contains(linked, module) {
				t.Errorf("%s links %s", dir, module)
			}
		}
	}
}

// TestImports_RequireNoHeavyModules: what go.mod requires for a test stands in the
// module list of everyone who requires dbfx.
func TestImports_RequireNoHeavyModules(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for _, heavy := range []string{"embedded-postgres", "/lib/pq", "/xz", "/rapid", "testcontainers", "sqlmock", "docker"} {
		if strings.Contains(string(text), heavy) {
			t.Errorf("go.mod requires %s", heavy)
		}
	}
}
