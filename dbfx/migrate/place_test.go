package migrate_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/dbfx/migrate"
	"github.com/sergas/dbkit/fxtest"
)

// TestPostgres_AFileMayEmptyTheSearchPath: pg_dump's files do.
func TestPostgres_AFileMayEmptyTheSearchPath(t *testing.T) {
	t.Parallel()
	db := open(t, fxtest.Postgres(t))
	const dump = "SELECT pg_catalog.set_config('search_path', '', false);\nSET row_security = off;\ncreate table public.%s (n integer);\n"
	fsys := files("00001_dump.sql", fmt.Sprintf(dump, "a"), "00002_bare.sql", "-- +goose NO TRANSACTION\n-- +goose Up\n"+fmt.Sprintf(dump, "b"),
		"00003_more.sql", "create table c (n integer);\n-- +goose Down\nset search_path = pg_catalog;\ndrop table public.c;")
	db.up(t, fsys)
	for _, name := range []string{"a", "b", "c"} { // also: no connection has kept the setting
		db.count(t, "select count(*) from "+name)
	}
	if _, err := db.migrator(t, fsys).Down(t.Context()); err != nil {
		t.Error(err)
	}
}

var roles atomic.Int64

// role makes a role without rights, and returns the settings of who is it.
func role(t *testing.T, cfg dbfx.Config) dbfx.Config {
	t.Helper()
	name := fmt.Sprintf("dbfx_Role_%d_%d", time.Now().UnixNano(), roles.Add(1))
	open(t, cfg).exec(t, `create role "`+name+`" login password 'x'`)
	t.Cleanup(func() {
		db, err := dbfx.Open(context.Background(), cfg)
		if err != nil {
			t.Error(err)
			return
		}
		if _, err := db.DB().ExecContext(context.Background(), `drop owned by "`+name+`"; drop role "`+name+`"`); err != nil {
			t.Error(err)
		}
		if err := db.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	service := cfg
	service.User, service.Password = name, dbfx.NewSecret("x")
	service.DatabaseMigrationURL = dbfx.NewSecret(cfg.URL())
	return service
}

// TestPostgres_AnotherRoleMigrates: the service's own may make nothing, and asks
// for the version.
func TestPostgres_AnotherRoleMigrates(t *testing.T) {
	t.Parallel()
	fsys := files("00001_a.sql", "create table a (n integer);")
	t.Run("FromTheFirstStart", func(t *testing.T) {
		t.Parallel()
		cfg := fxtest.Postgres(t)
		service := role(t, cfg)
		if done := open(t, service).up(t, fsys); len(done) != 1 {
			t.Errorf("did %+v", done)
		}
		mustBeReady(t, open(t, service), migrate.Check)
	})
	t.Run("ThatDidBefore", func(t *testing.T) {
		t.Parallel()
		cfg := fxtest.Postgres(t)
		service := role(t, cfg)
		open(t, cfg).up(t, fsys)
		if done := open(t, service).up(t, fsys); len(done) != 0 {
			t.Errorf("did %+v", done)
		}
		mustBeReady(t, open(t, service), migrate.Run)
	})
}

func mustBeReady(t *testing.T, db *bench, mode migrate.Mode) {
	t.Helper()
	m := db.migrator(t, files("00001_a.sql", "create table a (n integer);"), migrate.WithMode(mode))
	if got := m.Ready(t.Context()); got.Status != dbfx.Pass || got.Figures["version"] != 1 {
		t.Errorf("not ready: %+v", got)
	}
}

// TestPostgres_OneLockForOneTable: whatever the search_path by which it is found.
func TestPostgres_OneLockForOneTable(t *testing.T) {
	t.Parallel()
	cfg := fxtest.Postgres(t)
	db := open(t, cfg)
	db.up(t, files("00001_a.sql", "create table a (n integer);"))
	db.exec(t, "create schema other")
	fsys := files("00001_a.sql", "create table a (n integer);",
		"00002_slow.sql", "insert into public.a values (1);\nselect pg_sleep(case when to_regclass('public.go_on') is null then 600 else 0 end);")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	first := make(chan error, 1)
	go func() {
		m, err := migrate.New(db.Database, fsys)
		if err == nil {
			_, err = m.Up(ctx)
		}
		first <- err
	}()
	waitFor(t, func() bool {
		return db.count(t, "select count(*) from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database()") == 1
	})
	db.exec(t, "alter database "+cfg.Name+" set search_path = other, public")
	other := open(t, cfg)
	second := make(chan error, 1)
	go func() {
		m, err := migrate.New(other.Database, fsys, migrate.Table("public.goose_db_version"))
		if err == nil {
			_, err = m.Up(t.Context())
		}
		second <- err
	}()
	waitFor(t, func() bool { return other.logs.FilterMessageSnippet("waiting for another").Len() > 0 })
	db.exec(t, "create table public.go_on (n integer)")
	cancel() // the first is rolled back, the second finds the way free
	<-first
	if err := <-second; err != nil {
		t.Fatal(err)
	}
	if n := db.count(t, "select count(*) from public.a"); n != 1 {
		t.Errorf("%d rows, want 1", n)
	}
}
