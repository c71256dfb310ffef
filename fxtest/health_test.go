package fxtest_test

import (
	"context"
	"embed"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

func remove(path string) error { return os.Remove(path) }

// get asks the health endpoints.
func get(t *testing.T, app *fxtest.App, method, path string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	app.Health.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, nil))
	if w.Code != http.StatusMethodNotAllowed {
		if got := w.Header().Get("Content-Type"); got != "application/json" {
			t.Errorf("%s: got Content-Type %q", path, got)
		}
		if got := w.Header().Get("Cache-Control"); got != "no-store" {
			t.Errorf("%s: got Cache-Control %q", path, got)
		}
	}
	return w.Code, w.Body.String()
}

func TestHealth_HandlersSayUp(t *testing.T) {
	eachApp(t, func(t *testing.T, app *fxtest.App) {
		for _, path := range []string{"/livez", "/readyz", "/startupz", "/healthz", "/readyz?verbose"} {
			code, body := get(t, app, http.MethodGet, path)
			var parsed struct{ Status string }
			if err := json.Unmarshal([]byte(body), &parsed); err != nil || code != http.StatusOK || parsed.Status != "pass" {
				t.Errorf("%s: got %d %s", path, code, body)
			}
			for _, secret := range []string{app.Config.Password.Reveal(), app.Config.Host, app.Config.SQLitePath, app.Config.User} {
				if secret != "" && strings.Contains(body, secret) {
					t.Errorf("%s shows %q: %s", path, secret, body)
				}
			}
		}
		if code, body := get(t, app, http.MethodHead, "/readyz"); code != http.StatusOK || body != "" {
			t.Errorf("HEAD: got %d %q", code, body)
		}
		if code, _ := get(t, app, http.MethodPost, "/readyz"); code != http.StatusMethodNotAllowed {
			t.Errorf("POST: got %d", code)
		}
		app.Health.Stopping()
		if code, body := get(t, app, http.MethodGet, "/healthz"); code != http.StatusServiceUnavailable || !strings.Contains(body, "stopping") {
			t.Errorf("while stopping: got %d %s", code, body)
		}
		if code, _ := get(t, app, http.MethodGet, "/livez"); code != http.StatusOK {
			t.Errorf("/livez while stopping: got %d", code)
		}
	})
}

func TestHealth_AFullPoolIsSaturatedAndNotDown(t *testing.T) {
	eachApp(t, func(t *testing.T, app *fxtest.App) {
		for range app.DB.Stats().MaxOpenConnections {
			conn, err := app.DB.Conn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
		}
		report := app.Health.Check(t.Context())
		want := dbfx.StateSaturated
		if app.Config.Dialect() == dbfx.SQLite {
			want = dbfx.StateUp // its handle has no limit
		}
		if report.State != want || !report.Healthy() {
			t.Errorf("got %+v, want a healthy database, %s", report, want)
		}
	}, func(c *dbfx.Config) { c.PoolSize, c.MaxOverflow, c.SQLiteMaxConns = 2, 0, 2 })
}

func TestHealth_OneConnectionInUseIsNotDown(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*dbfx.Config){
		"Memory":        func(c *dbfx.Config) { c.SQLitePath = ":memory:" },
		"OneConnection": func(c *dbfx.Config) { c.SQLiteMaxConns = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := fxtest.SQLite(t)
			change(&cfg)
			app := fxtest.New(t, fxtest.Use(cfg))
			err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
				if report := app.Health.Check(context.WithoutCancel(ctx)); report.State != dbfx.StateUp {
					t.Errorf("got %+v while a session has the connection", report)
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

func TestHealth_SaysDownAndBounds(t *testing.T) {
	t.Parallel()
	cfg := fxtest.Postgres(t)
	proxy := newProxy(t, cfg)
	cfg.Port = proxy.port
	app := fxtest.New(t, fxtest.Use(cfg))
	proxy.blackhole()
	report := app.Health.Check(t.Context())
	if report.Healthy() || report.State != dbfx.StateDown {
		t.Errorf("got %+v, want down", report)
	}
	if code, body := get(t, app, http.MethodGet, "/readyz?verbose"); code != http.StatusServiceUnavailable || !strings.Contains(body, `"class":"`) {
		t.Errorf("got %d %s", code, body)
	}
	if code, _ := get(t, app, http.MethodGet, "/livez"); code != http.StatusOK {
		t.Errorf("/livez: got %d while the database is down", code)
	}
	proxy.cut()
}

func TestHealth_ManyProbesShareOnePing(t *testing.T) {
	eachApp(t, func(t *testing.T, app *fxtest.App) {
		cancelled, cancel := context.WithCancel(t.Context())
		cancel()
		app.Health.Check(cancelled) // a client that hung up
		var wg sync.WaitGroup
		times := make(chan dbfx.Report, 200)
		for range cap(times) {
			wg.Go(func() { times <- app.Health.Check(t.Context()) })
		}
		wg.Wait()
		close(times)
		seen := map[int64]bool{}
		for report := range times {
			if !report.Healthy() {
				t.Fatal(report)
			}
			seen[report.Time.UnixNano()] = true
		}
		if len(seen) > 20 {
			t.Errorf("%d pings for 200 probes", len(seen))
		}
	})
}

//go:embed testdata/schema
var ddl embed.FS

func TestSchema_InitRunsFilesInOrderAndIsRepeatable(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		app := fxtest.New(t, fxtest.Use(cfg))
		var wg sync.WaitGroup
		for range 8 { // as many replicas start at once
			wg.Go(func() {
				if err := app.Schema.Init(t.Context(), ddl); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		var n int
		if err := app.DB.QueryRowContext(t.Context(), "select count(*) from author_names").Scan(&n); err != nil || n != 1 {
			t.Errorf("got %d, %v, want the row that the second file inserts", n, err)
		}
		bad := fstest.MapFS{
			"1.sql": {Data: []byte("create table half (x integer); insert into half values (1);")},
			"2.sql": {Data: []byte("create table other (x integer); insert into nowhere values (1);")},
		}
		if err := app.Schema.Init(t.Context(), bad); err == nil || !strings.Contains(err.Error(), "2.sql") {
			t.Errorf("got %v, want an error that names the file", err)
		}
		if _, err := app.DB.ExecContext(t.Context(), "select * from half"); err != nil {
			t.Error("the first file was undone:", err)
		}
		if _, err := app.DB.ExecContext(t.Context(), "select * from other"); err == nil {
			t.Error("half of the second file stayed")
		}
		if err := app.Schema.Init(t.Context(), fstest.MapFS{"a.txt": {}}); err == nil {
			t.Error("a file system without .sql files was accepted")
		}
		if err := app.Schema.Init(t.Context(), nil); err == nil {
			t.Error("nil was accepted")
		}
	})
}

func TestSchema_DropAllDropsEverythingAndNotInProduction(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		app := fxtest.New(t, fxtest.Use(cfg))
		ctx := t.Context()
		if err := app.Schema.Init(ctx, ddl); err != nil {
			t.Fatal(err)
		}
		extra := []string{`create table "odd ""name" (x integer primary key, y integer references "odd ""name" (x))`}
		objects := "select count(*) from sqlite_schema where name not like 'sqlite_%'"
		if cfg.Dialect() == dbfx.Postgres {
			extra = append(extra, "create sequence s", "create type mood as enum ('ok')", "create domain d as text",
				"create materialized view mv as select 1 as one", "create type pair as (a int, b int)",
				"create function fn(int) returns int language sql as 'select $1'", "create procedure pr() language sql as 'select 1'",
				"create aggregate ag(int) (sfunc = int4pl, stype = int)", "create operator === (leftarg = int, rightarg = int, function = int4eq)",
				"create collation co (locale = 'C')", "create text search configuration ts (copy = simple)", "create text search dictionary di (template = simple)",
				"create type span as range (subtype = int)", "create conversion cv for 'LATIN1' to 'UTF8' from iso8859_1_to_utf8",
				"create table stat (a int, b int)", "create statistics st on a, b from stat",
				"create function trg() returns trigger language plpgsql as 'begin return new; end'", "create trigger tg before insert on stat for each row execute function trg()",
				"create operator class oc for type int using btree as operator 1 <, function 1 btint4cmp(int, int)",
				"create table parts (x int) partition by range (x)", "create table part1 partition of parts for values from (0) to (9)")
			objects = `select (select count(*) from pg_class where relnamespace = 'public'::regnamespace) +
				(select count(*) from pg_type where typnamespace = 'public'::regnamespace) +
				(select count(*) from pg_proc where pronamespace = 'public'::regnamespace) +
				(select count(*) from pg_operator where oprnamespace = 'public'::regnamespace) +
				(select count(*) from pg_opfamily where opfnamespace = 'public'::regnamespace) +
				(select count(*) from pg_collation where collnamespace = 'public'::regnamespace) +
				(select count(*) from pg_conversion where connamespace = 'public'::regnamespace) +
				(select count(*) from pg_statistic_ext where stxnamespace = 'public'::regnamespace) +
				(select count(*) from pg_ts_config where cfgnamespace = 'public'::regnamespace) +
				(select count(*) from pg_ts_dict where dictnamespace = 'public'::regnamespace)`
		} else {
			extra = append(extra, "create virtual table words using fts5(word)", "create table seq (x integer primary key autoincrement)",
				"create table no_key (x integer)", "create table lost (x integer references no_key (x), y integer references nowhere (y))",
				"create trigger tg after insert on seq begin select 1; end", "create view vw as select * from seq", "pragma user_version = 7")
		}
		for _, statement := range extra {
			if _, err := app.DB.ExecContext(ctx, statement); err != nil {
				t.Fatal(statement, err)
			}
		}
		name := cfg.Name
		if path := cfg.File(); path != "" {
			name = filepath.Base(path)
		}
		for _, env := range []string{"production", "PRODUCTION", " prod ", "Prod"} {
			production := cfg
			production.Env = env
			refusing := fxtest.New(t, fxtest.Use(production))
			if err := refusing.Schema.DropAll(ctx, name); err == nil || !strings.Contains(err.Error(), "ENV is production") {
				t.Errorf("DropAll where ENV is %q: got %v, want a refusal that names ENV", env, err)
			}
			if err := refusing.Schema.Init(ctx, ddl); err == nil || !strings.Contains(err.Error(), "ENV is production") {
				t.Errorf("Init where ENV is %q: got %v, want a refusal that names ENV", env, err)
			}
			if err := refusing.Schema.Init(ctx, ddl, dbfx.InProduction()); err != nil {
				t.Error("Init with InProduction:", err)
			}
		}
		for _, wrong := range []string{"", "another"} {
			if err := app.Schema.DropAll(ctx, wrong); err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("DropAll of %q: got %v", wrong, err)
			}
		}
		if err := app.Schema.DropAll(ctx, name); err != nil {
			t.Fatal(err)
		}
		var n int
		if err := app.DB.QueryRowContext(ctx, objects).Scan(&n); err != nil || n != 0 {
			t.Errorf("%d objects are left, %v", n, err)
		}
		if err := app.Schema.DropAll(ctx, name); err != nil {
			t.Error("on an empty schema:", err)
		}
		if err := app.Schema.Init(ctx, ddl); err != nil {
			t.Error("Init after DropAll:", err)
		}
	})
}
