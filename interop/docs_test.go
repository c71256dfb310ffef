package interop

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/fx"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/dbfx/metrics"
	"github.com/sergas/dbkit/dbfx/status"
	"github.com/sergas/dbkit/dbfx/tracing"
	"github.com/sergas/dbkit/fxtest"
)

var codeBlock = regexp.MustCompile("(?s)```(?:go|yaml)\n(.*?)```")

// TestDocs_AreCodeThatRuns: every block of code in the documentation stands, word
// for word, in a file of this module, which compiles it and whose tests run it.
func TestDocs_AreCodeThatRuns(t *testing.T) {
	t.Parallel()
	var sources strings.Builder
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && slices.Contains([]string{".go", ".yaml"}, filepath.Ext(path)) {
			var source []byte
			if source, err = os.ReadFile(path); err == nil {
				sources.Write(source)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	all := squeeze(sources.String())
	files, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := 0
	for _, file := range append(files, "../README.md", "../CONTRIBUTING.md", "../SECURITY.md") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range codeBlock.FindAllStringSubmatch(string(text), -1) {
			blocks++
			if !strings.Contains(all, squeeze(block[1])) {
				t.Errorf("%s: no source has\n%s", file, block[1])
			}
		}
	}
	if blocks < 35 {
		t.Errorf("%d blocks", blocks)
	}
}

// squeeze leaves the indent out of account.
func squeeze(text string) string { return strings.Join(strings.Fields(text), " ") }

// TestRecipes_EachLibraryHasItsExample: each row of the table in docs/recipes.md
// names libraries, and a function of the examples, or a test, bears their names.
func TestRecipes_EachLibraryHasItsExample(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/recipes.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "| library |")
	table, _, _ = strings.Cut(table, "\n\n")
	var functions strings.Builder
	tests, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range tests {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range regexp.MustCompile(`(?m)^func ((?:Example|TestPgtestdb)\w+)\(`).FindAllStringSubmatch(string(source), -1) {
			functions.WriteString(strings.ToLower(name[1]) + "\n")
		}
	}
	rows := strings.Split(table, "\n")[2:]
	if len(rows) < 15 {
		t.Errorf("%d rows", len(rows))
	}
	for _, row := range rows {
		libraries, _, _ := strings.Cut(strings.Trim(row, "| "), "|")
		libraries, _, _ = strings.Cut(libraries, " (")
		libraries = strings.NewReplacer(", as a library", "", "bun behind `bun.IDB`", "bunin", "watermill-sql", "watermill", "golang-migrate", "golangmigrate").Replace(libraries)
		for _, library := range strings.Split(libraries, ", ") {
			if !strings.Contains(functions.String(), strings.TrimSpace(library)) {
				t.Errorf("no Example of %s", library)
			}
		}
	}
}

// TestREADME_FirstProgramStartsAndStops builds the program of the README and runs
// it in an empty directory, as a reader would.
func TestREADME_FirstProgramStartsAndStops(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("no signals")
	}
	for name, says := range map[string]string{"first": "", "migrated": "00001_notes.sql"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			program := filepath.Join(dir, "program")
			if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./docs/"+name).CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			// Until Fx listens for a signal this one is ignored. SIGTERM would end the
			// program; when it listens no one outside can tell.
			run := exec.CommandContext(t.Context(), "sh", "-c", `trap "" INT; exec "$0"`, program)
			run.Dir, run.Env = dir, []string{"HOME=" + dir}
			var log bytes.Buffer
			run.Stdout, run.Stderr = &log, &log
			if err := run.Start(); err != nil {
				t.Fatal(err)
			}
			file := dbfx.DefaultConfig()
			file.SQLitePath = filepath.Join(dir, "data", "sergas.db")
			for deadline := time.Now().Add(time.Minute); !hasNotes(file); time.Sleep(20 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Error("no table notes")
					break
				}
			}
			ended := make(chan error, 1)
			go func() { ended <- run.Wait() }()
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-tick.C:
					_ = run.Process.Signal(os.Interrupt)
					continue
				case err := <-ended:
					if err != nil || !strings.Contains(log.String(), says) {
						t.Errorf("%v\n%s", err, &log)
					}
				}
				break
			}
		})
	}
}

// hasNotes looks for the program's table, once its file is there.
func hasNotes(cfg dbfx.Config) bool {
	if _, err := os.Stat(cfg.SQLitePath); err != nil {
		return false
	}
	db, err := dbfx.Open(context.Background(), cfg)
	if err != nil {
		return false
	}
	defer func() { _ = db.Close(context.Background()) }()
	_, err = db.DB().ExecContext(context.Background(), "select 1 from notes")
	return err == nil
}

// TestStore is what the README shows.
func TestStore(t *testing.T) {
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) { // sqlite and postgresql, an empty database each
		app := fxtest.New(t, fxtest.Use(cfg)) // app.DB, app.Sessions, app.Health, app.Schema
		if _, err := app.DB.ExecContext(t.Context(), `create table notes (text text)`); err != nil {
			t.Fatal(err)
		}
	})
}

// TestObservability_TheGraphIsWhole builds what docs/observability.md shows, and does
// not start it: its port may be in use.
func TestObservability_TheGraphIsWhole(t *testing.T) {
	t.Parallel()
	const secret = "s3cret"
	want := sha256.Sum256([]byte(secret))
	authorize := fx.Supply(status.Options{Authorize: func(w http.ResponseWriter, r *http.Request) bool {
		_, key, _ := r.BasicAuth()
		got := sha256.Sum256([]byte(key)) // of one length, so that the time says nothing
		if subtle.ConstantTimeCompare(got[:], want[:]) == 1 {
			return true
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="status"`)
		http.Error(w, "a key is needed", http.StatusUnauthorized)
		return false
	}})
	if err := fx.New(fx.NopLogger, dbfx.Module, inside, fxtest.Use(fxtest.SQLite(t)), authorize).Err(); err != nil {
		t.Error(err)
	}
}

// inside is what operators see.
var inside = fx.Options(
	metrics.Module, tracing.Module, status.Module,
	fx.Invoke(func(lc fx.Lifecycle, page *status.Page, probes *dbfx.Probes) {
		mux := http.NewServeMux()
		mux.Handle("/", page)
		exemplars := promhttp.HandlerOpts{EnableOpenMetrics: true} // they leave in no other format
		mux.Handle("/metrics", promhttp.HandlerFor(prometheus.DefaultGatherer, exemplars))
		for _, path := range []string{"/livez", "/readyz", "/startupz", "/writez", "/healthz"} {
			mux.Handle(path, probes.Handler())
		}
		server := &http.Server{Addr: "127.0.0.1:8081", Handler: mux, ReadHeaderTimeout: 5 * time.Second}
		server.RegisterOnShutdown(page.Close) // ends the live streams
		lc.Append(fx.StartStopHook(
			func(ctx context.Context) error {
				listener, err := new(net.ListenConfig).Listen(ctx, "tcp", server.Addr)
				if err != nil {
					return err
				}
				go func() { _ = server.Serve(listener) }()
				return nil
			}, server.Shutdown))
	}),
)
