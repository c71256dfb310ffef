package status_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/fx"
	"go.uber.org/goleak"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/dbfx/status"
	"github.com/sergas/dbkit/fxtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shown is a started application with its page.
func shown(t *testing.T, opts ...fx.Option) (*fxtest.App, *status.Page) {
	t.Helper()
	var page *status.Page
	app := fxtest.New(t, append(opts, status.Module, fx.Populate(&page))...)
	err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
		var text string
		return tx.QueryRowContext(ctx, "select 'hunter2' || cast($1 as text)", "hunter2").Scan(&text)
	}, dbfx.Name("greet <b>"))
	if err != nil {
		t.Fatal(err)
	}
	return app, page
}

func get(t *testing.T, page http.Handler, method, url string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	page.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, url, nil))
	return w
}

func TestPage_ShowsWhatRanWithoutItsValues(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		app, page := shown(t, fxtest.Use(cfg))
		html := get(t, page, "GET", "/anywhere").Body.String()
		for _, text := range []string{"greet &lt;b&gt;", "select ? || cast(? as text)", "POOL_TIMEOUT", ">up<"} {
			if !strings.Contains(html, text) {
				t.Errorf("missing: %s", text)
			}
		}
		var s status.Snapshot
		answer := get(t, page, "GET", "/?format=json")
		if err := json.Unmarshal(answer.Body.Bytes(), &s); err != nil {
			t.Fatal(err)
		}
		if len(s.Databases) != 1 || s.Databases[0].State != dbfx.StateUp || len(s.Databases[0].Names) == 0 || len(s.Databases[0].Slowest) == 0 {
			t.Errorf("got %+v", s)
		}
		for _, secret := range []string{"hunter2", "<b>", app.Config.Password.Reveal()} {
			if secret != "" && (strings.Contains(html, secret) || secret != "<b>" && strings.Contains(answer.Body.String(), secret)) {
				t.Errorf("%q is shown", secret)
			}
		}
	})
}

func TestPage_ShowsTheFiguresOfChecks(t *testing.T) {
	t.Parallel()
	check := fx.Provide(fx.Annotate(func() dbfx.Check {
		return dbfx.Check{Name: "migrations", Run: func(context.Context) dbfx.CheckResult {
			return dbfx.CheckResult{Status: dbfx.Pass, Figures: map[string]float64{"version": 20261124120000, "pending": 0}}
		}}
	}, fx.ResultTags(`group:"dbfx.checks"`)))
	app, page := shown(t, fxtest.Use(fxtest.SQLite(t)), check)
	app.Health.Check(t.Context())
	if html := get(t, page, "GET", "/").Body.String(); !strings.Contains(html, "migrations · pending 0 · version 20261124120000") {
		t.Error("the figures are missing")
	}
}

func TestPage_SaysWhatABrowserMayDo(t *testing.T) {
	t.Parallel()
	_, page := shown(t)
	for _, url := range []string{"/", "/?format=json", "/?asset=style.css", "/?asset=script.js"} {
		w := get(t, page, "GET", url)
		policy := w.Header().Get("Content-Security-Policy")
		if w.Code != 200 || !strings.HasPrefix(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
			t.Errorf("%s: got %d, %q", url, w.Code, policy)
		}
		for _, elsewhere := range []string{"http://", "https://", "style=", "onclick", "<script>"} {
			if strings.Contains(w.Body.String(), elsewhere) {
				t.Errorf("%s holds %s", url, elsewhere)
			}
		}
	}
	if w := get(t, page, "POST", "/"); w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: got %d", w.Code)
	}
	if w := get(t, page, "GET", "/?asset=../page.go"); w.Code != http.StatusNotFound {
		t.Errorf("a file of the package: got %d", w.Code)
	}
}

func TestPage_AsksAuthorize(t *testing.T) {
	t.Parallel()
	_, page := shown(t, fx.Supply(status.Options{Authorize: func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Query().Has("login") {
			w.WriteHeader(http.StatusUnauthorized)
		}
		return r.URL.Query().Has("key")
	}}))
	for url, want := range map[string]int{"/": 403, "/?login": 401, "/?key": 200, "/?format=json": 403, "/?events": 403, "/?asset=style.css": 403} {
		if w := get(t, page, "GET", url); w.Code != want {
			t.Errorf("%s: got %d, want %d", url, w.Code, want)
		}
	}
}

// TestPage_OnLoopbackAnswersOnlyToNamesOfItsOwn: a name that someone else made lead
// to 127.0.0.1 is refused, also with Authorize.
func TestPage_OnLoopbackAnswersOnlyToNamesOfItsOwn(t *testing.T) {
	t.Parallel()
	page := status.New(status.Options{Hosts: []string{"Status.internal"}, Authorize: func(http.ResponseWriter, *http.Request) bool { return true }})
	server := httptest.NewServer(page)
	defer server.Close()
	tests := []struct {
		host string
		want int
	}{
		{"localhost", 200}, {"LOCALHOST:8081", 200}, {"shop.localhost:8081", 200}, {"localhost.", 200},
		{"127.0.0.1:8081", 200}, {"[::1]:8081", 200}, {"[::1]", 200}, {"10.0.0.7", 200}, {"status.internal:443", 200},
		{"rebound.example", 403}, {"rebound.example:8081", 403}, {"localhost.rebound.example", 403}, {"notlocalhost", 403},
		{"127.0.0.1.rebound.example", 403}, {"a.status.internal", 403},
	}
	for _, tt := range tests {
		for _, path := range []string{"/", "/?format=json", "/?asset=script.js"} {
			request, err := http.NewRequestWithContext(t.Context(), "GET", server.URL+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			request.Host = tt.host
			answer, err := server.Client().Do(request)
			if err != nil {
				t.Fatal(err)
			}
			_ = answer.Body.Close()
			if answer.StatusCode != tt.want {
				t.Errorf("Host %s, %s: got %d, want %d", tt.host, path, answer.StatusCode, tt.want)
			}
		}
	}
	elsewhere := context.WithValue(t.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.IPv4(10, 0, 0, 7)})
	w := httptest.NewRecorder()
	page.ServeHTTP(w, httptest.NewRequestWithContext(elsewhere, "GET", "http://shop.example/", nil))
	if w.Code != http.StatusOK {
		t.Errorf("on another address: got %d", w.Code)
	}
}

// TestPage_ShowsDatabasesByTheirNames: in the same order after every start.
func TestPage_ShowsDatabasesByTheirNames(t *testing.T) {
	t.Parallel()
	opts := []fx.Option{fxtest.Use(fxtest.SQLite(t))}
	for _, name := range []string{"reports", "audit", "zoo"} {
		opts = append(opts, dbfx.Named(name), fxtest.UseNamed(name, fxtest.SQLite(t)))
	}
	_, page := shown(t, opts...)
	var got []string
	for _, d := range page.Snapshot().Databases {
		got = append(got, d.Name)
	}
	if want := []string{"default", "audit", "reports", "zoo"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestPage_ShowsEachDatabaseOnce: the parts of the page are found by the names.
func TestPage_ShowsEachDatabaseOnce(t *testing.T) {
	t.Parallel()
	page := status.New(status.Options{})
	defer page.Close()
	var databases []*dbfx.Database
	for range 2 {
		db, err := dbfx.Open(t.Context(), fxtest.SQLite(t), dbfx.WithObserver(page.Observer()))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = db.Close(context.Background()) }()
		databases = append(databases, db)
	}
	page.Watch(databases[0], databases[0])
	page.Watch(databases...)
	var got []string
	for _, d := range page.Snapshot().Databases {
		got = append(got, d.Name)
	}
	if want := []string{"default", "default#2"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestPage_StreamsChangesAndEndsWithTheStop(t *testing.T) {
	t.Parallel()
	app, page := shown(t)
	server := httptest.NewServer(page)
	defer server.Close()
	request, err := http.NewRequestWithContext(t.Context(), "GET", server.URL+"/?events", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := server.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	lines := bufio.NewScanner(answer.Body)
	lines.Buffer(nil, 1<<20)
	events := 0
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		var changed map[string]string
		if err := json.Unmarshal([]byte(data), &changed); err != nil {
			t.Fatal(err)
		}
		if events++; events == 1 && len(changed) < 9 {
			t.Errorf("the first event has %d sections", len(changed))
		}
		if events == 2 {
			if _, again := changed["default.statements"]; again {
				t.Error("what has not changed was sent again")
			}
			app.Health.Stopping() // the stream must not keep the server from its shutdown
		}
	}
	if events < 2 || events > 4 {
		t.Errorf("%d events", events)
	}
}

// TestPage_AnswersWhileTheDatabaseIsLocked: everything comes from memory.
func TestPage_AnswersWhileTheDatabaseIsLocked(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		cfg.PoolSize, cfg.MaxOverflow, cfg.PoolTimeout = 1, 0, time.Minute
		app, page := shown(t, fxtest.Use(cfg))
		held, end, done := make(chan struct{}), make(chan struct{}), make(chan struct{}, 2)
		for _, name := range []string{"holder", "waiter"} {
			go func() {
				defer func() { done <- struct{}{} }()
				_ = app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
					if name == "holder" {
						close(held)
						<-end
					}
					return nil
				}, dbfx.Name(name))
			}()
			if name == "holder" {
				<-held
			}
		}
		for {
			s := page.Snapshot().Databases[0]
			if s.Running == 1 && s.Waiting == 1 && len(s.Now) == 2 {
				if s.Now[0].Name != "holder" || !s.Now[1].Waiting {
					t.Errorf("got %+v", s.Now)
				}
				break
			}
		}
		if w := get(t, page, "GET", "/"); !strings.Contains(w.Body.String(), "waiter") {
			t.Error("the page does not show who waits")
		}
		close(end)
		<-done
		<-done
	})
}

// TestPage_EscapesHostileTexts: names, quoted columns and the classes of errors may
// come from whoever can make the service run them.
func TestPage_EscapesHostileTexts(t *testing.T) {
	t.Parallel()
	app, page := shown(t, fx.Provide(fx.Annotate(func() dbfx.Check {
		return dbfx.Check{Name: hostile, Run: func(context.Context) dbfx.CheckResult {
			return dbfx.CheckResult{Status: dbfx.Warn, Reason: hostile}
		}}
	}, fx.ResultTags(`group:"dbfx.checks"`))))
	app.Health.Check(t.Context())
	policy := dbfx.RetryPolicy{MaxAttempts: 2, Base: time.Millisecond, Retryable: func(error) bool { return true }}
	err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
		var n int
		if err := tx.QueryRowContext(ctx, `select 1 as "`+hostile+`"`).Scan(&n); err != nil {
			return err
		}
		for _, url := range []string{"/", "/?format=json"} {
			if body := get(t, page, "GET", url).Body.String(); strings.Contains(body, hostile) || strings.Count(body, "alert(1)") < 5 {
				t.Errorf("%s: unescaped, or not shown:\n%s", url, body)
			}
		}
		return errors.New(hostile)
	}, dbfx.Name(hostile), dbfx.Retry(policy))
	if err == nil {
		t.Fatal("it succeeded")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // after the first event
	w := httptest.NewRecorder()
	page.ServeHTTP(w, httptest.NewRequestWithContext(ctx, "GET", "/?events", nil))
	if body := w.Body.String(); strings.Contains(body, hostile) || !strings.Contains(body, "alert(1)") {
		t.Errorf("the stream: unescaped, or not shown:\n%s", body)
	}
}

const hostile = `<script>alert(1)</script><img src=x onerror="alert(1)">`

// TestPage_ShowsTheOldestOfAThousand: the page is bounded, and answers.
func TestPage_ShowsTheOldestOfAThousand(t *testing.T) {
	t.Parallel()
	cfg := fxtest.SQLite(t)
	cfg.PoolTimeout = time.Minute
	app, page := shown(t, fxtest.Use(cfg))
	held, end := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	run := func(name string, fn func()) {
		wg.Go(func() {
			_ = app.Sessions.Run(t.Context(), func(context.Context, *dbfx.Session) error {
				fn()
				return nil
			}, dbfx.Name(name))
		})
	}
	run("holder", func() { close(held); <-end })
	<-held
	for range 999 {
		run("waiter", func() {})
	}
	for app.Sessions.Stats().Waiting < 999 {
		time.Sleep(time.Millisecond)
	}
	d := page.Snapshot().Databases[0]
	if d.Running != 1 || d.Waiting != 999 || len(d.Now) != 100 || d.Now[0].Name != "holder" || d.Now[0].Blocks != 999 {
		t.Errorf("%d run, %d wait, %d are listed, %+v first", d.Running, d.Waiting, len(d.Now), d.Now[0])
	}
	if body := get(t, page, "GET", "/").Body.String(); !strings.Contains(body, "and 900 more") {
		t.Error("the page does not say how many it leaves out")
	}
	close(end)
	wg.Wait()
}
