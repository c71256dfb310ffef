package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

// TestMain lets the test binary be the app: a real process to send signals to.
func TestMain(m *testing.M) {
	if os.Getenv("APP_UNDER_TEST") == "1" {
		os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
	}
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("net/http.(*persistConn).readLoop"),
		goleak.IgnoreTopFunction("net/http.(*persistConn).writeLoop"))
}

// process is a running app.
type process struct {
	cmd   *exec.Cmd
	base  string
	admin string
	logs  *safeBuffer
	done  chan error

	leaves atomic.Int64 // until when it serves, in Unix nanoseconds; 0 while it was not told to stop
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *safeBuffer) add(line string) { b.mu.Lock(); defer b.mu.Unlock(); b.b.WriteString(line + "\n") }
func (b *safeBuffer) String() string  { b.mu.Lock(); defer b.mu.Unlock(); return b.b.String() }

// command runs the app in an empty directory, with env alone.
func command(ctx context.Context, dir string, env []string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Dir = dir
	cmd.Env = append([]string{"APP_UNDER_TEST=1", "ENV=production", "HTTP_ADDR=127.0.0.1:0", "HTTP_ADMIN_ADDR=127.0.0.1:0", "PATH=" + os.Getenv("PATH")}, env...)
	return cmd
}

// start serves and waits for the line that says where.
func start(t *testing.T, dir string, env []string) *process {
	t.Helper()
	p := &process{cmd: command(t.Context(), dir, env, "serve"), logs: &safeBuffer{}, done: make(chan error, 1)}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	addr := make(chan string, 1)
	go func() {
		lines := bufio.NewScanner(stderr)
		for lines.Scan() {
			p.logs.add(lines.Text())
			var line struct{ Msg, Addr string }
			if json.Unmarshal(lines.Bytes(), &line) != nil {
				continue
			}
			switch line.Msg {
			case "serving operators":
				p.admin = "http://" + line.Addr
			case "serving":
				addr <- line.Addr
			}
		}
		p.done <- p.cmd.Wait()
	}()
	select {
	case a := <-addr:
		p.base = "http://" + a
	case err := <-p.done:
		t.Fatalf("the app ended: %v\n%s", err, p.logs)
	}
	return p
}

// stop sends SIGTERM and wants exit code 0.
func (p *process) stop(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := <-p.done; err != nil {
		t.Errorf("exit: %v\n%s", err, p.logs)
	}
}

// call makes a request and decodes the answer.
func (p *process) call(method, path, body string) (int, map[string]any, error) {
	return p.callWith(method, path, body, nil)
}

func (p *process) callWith(method, path, body string, header http.Header) (int, map[string]any, error) {
	request, err := http.NewRequest(method, p.base+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	for name, values := range header {
		request.Header[name] = values
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = response.Body.Close() }()
	var decoded map[string]any
	if err := json.NewDecoder(response.Body).Decode(&decoded); err != nil && err != io.EOF {
		return response.StatusCode, nil, err
	}
	return response.StatusCode, decoded, nil
}

// ids pages through the tokens.
func (p *process) ids() (ids []string, err error) {
	for after := ""; ; {
		_, page, err := p.call("GET", "/tokens?limit=37&after="+after, "")
		if err != nil {
			return nil, err
		}
		rows, _ := page["tokens"].([]any)
		for _, row := range rows {
			ids = append(ids, fmt.Sprint(row.(map[string]any)["id"]))
		}
		next, _ := page["next"].(string)
		if next == "" {
			return ids, nil
		}
		after = next
	}
}

// engines are the ways to say which database, as a user would.
var engines = map[string]func(t *testing.T) []string{
	"sqlite":                   func(*testing.T) []string { return nil },
	"unknown scheme is sqlite": func(*testing.T) []string { return []string{"DATABASE_URL=mysql://u:hunter2@h/d"} },
	"postgresql by URL":        func(t *testing.T) []string { return []string{"DATABASE_URL=" + fxtest.Postgres(t).SQLAlchemyURL(true)} },
	"postgresql by parts":      func(t *testing.T) []string { return byParts(fxtest.Postgres(t)) },
}

func byParts(cfg dbfx.Config) []string {
	return []string{
		"DATABASE_HOST=" + cfg.Host, fmt.Sprintf("DATABASE_PORT=%d", cfg.Port), "DATABASE_NAME=" + cfg.Name,
		"DATABASE_USER=" + cfg.User, "DATABASE_PASSWORD=" + cfg.Password.Reveal(), "DATABASE_SSLMODE=disable",
	}
}

func TestServe_CreatesListsAndRevokes(t *testing.T) {
	t.Parallel()
	for name, environment := range engines {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, env := t.TempDir(), environment(t)
			p := start(t, dir, env)
			code, created, err := p.call("POST", "/tokens", `{"name":"ci"}`)
			if err != nil || code != http.StatusCreated || !strings.HasPrefix(fmt.Sprint(created["token"]), "tok_") {
				t.Fatalf("create: got %d %v %v", code, created, err)
			}
			tests := []struct {
				method, path, body string
				want               int
			}{
				{"POST", "/tokens", `{"name":"ci"}`, http.StatusConflict},
				{"POST", "/tokens", `{"name":""}`, http.StatusBadRequest},
				{"POST", "/tokens", `{"name":"a\u0000b"}`, http.StatusBadRequest},
				{"POST", "/tokens", "{\"name\":\"a\xffb\"}", http.StatusBadRequest},
				{"POST", "/tokens", `{"name":"a\ud800b"}`, http.StatusBadRequest},
				{"POST", "/tokens", `{"nam":"x"}`, http.StatusBadRequest},
				{"POST", "/tokens", `{`, http.StatusBadRequest},
				{"POST", "/tokens", `{"name":"a"} {"name":"b"}`, http.StatusBadRequest},
				{"POST", "/tokens", `{"name":"a"}]`, http.StatusBadRequest},
				{"POST", "/tokens", `{"name":"` + strings.Repeat("x", 101) + `"}`, http.StatusBadRequest},
				{"POST", "/tokens", `{"name":"` + strings.Repeat("x", 1<<16) + `"}`, http.StatusRequestEntityTooLarge},
				{"GET", "/tokens", "", http.StatusOK},
				{"GET", "/tokens?limit=0", "", http.StatusBadRequest},
				{"GET", "/tokens?after=%00", "", http.StatusBadRequest},
				{"GET", "/tokens/self", "", http.StatusUnauthorized},
				{"DELETE", "/tokens/nobody", "", http.StatusNotFound},
				{"DELETE", "/tokens/" + fmt.Sprint(created["id"]), "", http.StatusNoContent},
				{"DELETE", "/tokens/" + fmt.Sprint(created["id"]), "", http.StatusNotFound},
				{"GET", "/livez", "", http.StatusOK}, {"GET", "/readyz", "", http.StatusOK},
				{"GET", "/startupz", "", http.StatusOK}, {"GET", "/healthz", "", http.StatusOK},
			}
			for _, tt := range tests {
				if code, body, err := p.call(tt.method, tt.path, tt.body); err != nil || code != tt.want {
					t.Errorf("%s %s %s: got %d %v %v, want %d", tt.method, tt.path, tt.body, code, body, err, tt.want)
				}
			}
			_, list, err := p.call("GET", "/tokens", "")
			rows, _ := list["tokens"].([]any)
			if err != nil || len(rows) != 1 {
				t.Fatalf("list: got %v, %v", list, err)
			}
			row := rows[0].(map[string]any)
			if row["name"] != "ci" || row["created_at"] != created["created_at"] || row["revoked_at"] == nil {
				t.Errorf("got %v, created %v", row, created)
			}
			// What is for operators is not where clients come.
			for url, want := range map[string]string{
				p.admin + "/metrics": `dbfx_up{`, p.admin + "/": "Tokens",
				p.base + "/metrics": "404", p.base + "/status/": "404", p.base + "/": "404",
			} {
				response, err := http.Get(url)
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(response.Body)
				_ = response.Body.Close()
				if err != nil || !strings.Contains(string(body), want) || strings.HasPrefix(want, "4") != (response.StatusCode == http.StatusNotFound) {
					t.Errorf("%s: got %s, %v, want %q in it", url, response.Status, err, want)
				}
			}
			if kind := openMetrics(t, p.admin+"/metrics"); !strings.HasPrefix(kind, "application/openmetrics-text") {
				t.Errorf("no other format has the exemplars, and Prometheus gets %s", kind)
			}
			p.stop(t)
			for _, text := range []string{"hunter2", fmt.Sprint(created["token"])} {
				if strings.Contains(p.logs.String(), text) {
					t.Errorf("%q is in the log", text)
				}
			}
			for _, suffix := range []string{"-wal", "-shm"} {
				if _, err := os.Stat(filepath.Join(dir, "data", "sergas.db"+suffix)); err == nil {
					t.Errorf("sergas.db%s is left behind", suffix)
				}
			}
		})
	}
}

func TestServe_StopsUnderLoadAndLosesNothing(t *testing.T) {
	t.Parallel()
	for name, environment := range engines {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, env := t.TempDir(), environment(t)
			p := start(t, dir, env)
			var acknowledged, unknown atomic.Int64
			var wg sync.WaitGroup
			for w := range 4 {
				wg.Go(func() {
					for i := 0; ; i++ {
						code, body, err := p.call("POST", "/tokens", fmt.Sprintf(`{"name":"%d-%d"}`, w, i))
						switch {
						case code == http.StatusCreated:
							acknowledged.Add(1)
						case err == nil:
							t.Errorf("got %d %v while stopping", code, body)
						default:
							unknown.Add(1) // no answer: the listener is gone
							return
						}
					}
				})
			}
			for acknowledged.Load() < 20 {
				time.Sleep(time.Millisecond)
			}
			p.stop(t)
			wg.Wait()
			again := start(t, dir, env)
			ids, err := again.ids()
			got := int64(len(ids))
			if err != nil || got < acknowledged.Load() || got > acknowledged.Load()+unknown.Load() {
				t.Errorf("got %d tokens, %d were acknowledged and %d unanswered", got, acknowledged.Load(), unknown.Load())
			}
			again.stop(t)
		})
	}
}

// TestServe_ASignalEndsAStartThatWaits has one database that is away, so that the
// other one may have started before.
func TestServe_ASignalEndsAStartThatWaits(t *testing.T) {
	t.Parallel()
	for _, away := range []string{"DATABASE_URL", "AUDIT_DATABASE_URL"} {
		t.Run(away, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			cmd := command(t.Context(), dir, []string{away + "=postgresql://u@127.0.0.1:1/d", "START_TIMEOUT=1h"}, "serve")
			stderr, err := cmd.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewScanner(stderr)
			for lines.Scan() && !strings.Contains(lines.Text(), "refused") { // the first try
				continue
			}
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			logs := &safeBuffer{}
			for lines.Scan() {
				logs.add(lines.Text())
			}
			if err := cmd.Wait(); cmd.ProcessState.ExitCode() != exitFailure {
				t.Errorf("got %v, want exit code %d\n%s", err, exitFailure, logs)
			}
			for _, suffix := range []string{"-wal", "-shm"} {
				if left, _ := filepath.Glob(filepath.Join(dir, "data", "*"+suffix)); len(left) > 0 {
					t.Errorf("the databases were not closed: %q\n%s", left, logs)
				}
			}
		})
	}
}

func TestCommands(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		env      []string
		file     string
		args     []string
		wantCode int
		wantIn   []string
	}{
		"Config":       {nil, "", []string{"config"}, 0, []string{"POOL_SIZE", "20", "default"}},
		"ConfigMasked": {[]string{"DATABASE_PASSWORD=hunter2"}, "", []string{"config"}, 0, []string{"DATABASE_PASSWORD", "***", "environment"}},
		"ConfigFile":   {[]string{"POOL_SIZE=3"}, "POOL_SIZE=4\nMAX_OVERFLOW=5\n", []string{"config"}, 0, []string{"POOL_SIZE 3 environment", "MAX_OVERFLOW 5 .env"}},
		"Check":        {nil, "", []string{"check"}, 0, []string{"tokens: pass, sqlite", "audit: pass, sqlite"}},
		"Migrate":      {nil, "", []string{"migrate"}, 0, []string{"tokens: up to date", "audit: up to date"}},
		"MigrateWord":  {nil, "", []string{"migrate", "status"}, 2, []string{`migrate takes no "status"`}},
		"ServeWord":    {nil, "", []string{"serve", "-env", "x"}, 2, []string{`serve takes no "-env"`}},
		"Help":         {nil, "", []string{"-h"}, 0, []string{"usage:"}},
		"AdminAddr":    {[]string{"HTTP_ADMIN_ADDR=nowhere"}, "", []string{"serve"}, 1, []string{"HTTP_ADMIN_ADDR:"}},
		"DBStatus":     {nil, "", []string{"db", "migrate", "status"}, 3, []string{"3 pending", "001_tokens.sql"}},
		"DBURL":        {[]string{"DATABASE_URL=postgresql://u:hunter2@h/d"}, "", []string{"db", "url"}, 0, []string{"postgres://u:***@h/d"}},
		"MigrateFirst": {[]string{"MIGRATIONS=check"}, "", []string{"serve"}, 1, []string{"pending"}},
		"NotReady":     {[]string{"HTTP_ADDR=127.0.0.1:1"}, "", []string{"ready"}, 1, []string{"refused"}},
		"CheckDown":    {[]string{"DATABASE_URL=postgresql://u:hunter2@127.0.0.1:1/d", "START_TIMEOUT=5"}, "", []string{"check"}, 1, []string{"refused"}},
		"TwoFaults":    {[]string{"POOL_SIZE=many", "DATABASE_PORT=x"}, "", []string{"serve"}, 2, []string{"POOL_SIZE: want", "DATABASE_PORT: want"}},
		"ConfigFaults": {[]string{"POOL_SIZE=many"}, "", []string{"config"}, 2, []string{"POOL_SIZE: want", "VARIABLE"}},
		"BadFile":      {nil, "ENV=x\nDATABASE_PASSWORD=hunter2\nA-B=hunter2\n", []string{"config"}, 2, []string{".env: line 3: want NAME=value"}},
		"AuditFault":   {[]string{"AUDIT_POOL_SIZE=many"}, "", []string{"serve"}, 2, []string{"AUDIT_POOL_SIZE: want"}},
		"NoFile":       {nil, "", []string{"-env", "missing.env", "config"}, 2, []string{"missing.env"}},
		"Unknown":      {nil, "", []string{"dance"}, 2, []string{"usage:"}},
		"ServeFails":   {[]string{"DATABASE_PATH=/dev/null/x.db"}, "", []string{"serve"}, 1, []string{"DATABASE_PATH", "/dev/null"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if tt.file != "" {
				if err := os.WriteFile(filepath.Join(dir, ".env"), []byte(tt.file), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			cmd := command(t.Context(), dir, tt.env, tt.args...)
			out, err := cmd.CombinedOutput()
			if code := cmd.ProcessState.ExitCode(); code != tt.wantCode {
				t.Errorf("exit code %d (%v), want %d\n%s", code, err, tt.wantCode, out)
			}
			squeezed := strings.Join(strings.Fields(string(out)), " ")
			for _, want := range tt.wantIn {
				if !strings.Contains(squeezed, want) {
					t.Errorf("want %q in\n%s", want, out)
				}
			}
			if strings.Contains(string(out), "hunter2") {
				t.Errorf("shows the password:\n%s", out)
			}
		})
	}
}

// TestServe_TracesWhenTheEnvironmentAsks: the spans of a request's session are in
// the log, and by default none.
func TestServe_TracesWhenTheEnvironmentAsks(t *testing.T) {
	t.Parallel()
	for exporter, want := range map[string]bool{"": false, "console": true} {
		p := start(t, t.TempDir(), []string{"OTEL_TRACES_EXPORTER=" + exporter})
		if code, _, err := p.call("GET", "/tokens", ""); err != nil || code != http.StatusOK {
			t.Errorf("got %d, %v", code, err)
		}
		p.stop(t)
		if got := strings.Contains(p.logs.String(), `"dbfx.session.outcome":"read"`); got != want {
			t.Errorf("with %q spans are in the log: %t\n%s", exporter, got, p.logs)
		}
	}
	out, err := command(t.Context(), t.TempDir(), []string{"OTEL_TRACES_EXPORTER=jaeger"}, "serve").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "OTEL_TRACES_EXPORTER: want console or none") {
		t.Errorf("got %v\n%s", err, out)
	}
}

// TestServe_LogsForPeopleInDevelopment: JSON is for machines.
func TestServe_LogsForPeopleInDevelopment(t *testing.T) {
	t.Parallel()
	out, err := command(t.Context(), t.TempDir(), []string{"ENV=development", "OTEL_TRACES_EXPORTER=jaeger"}, "serve").CombinedOutput()
	if err == nil || strings.Contains(string(out), `{"level"`) || !strings.Contains(string(out), "\tERROR\t") {
		t.Errorf("got %v\n%s", err, out)
	}
}

// openMetrics asks as Prometheus does, and returns the format of the answer.
func openMetrics(t *testing.T, url string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2")
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	return response.Header.Get("Content-Type")
}
