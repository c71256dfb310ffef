package migrate_test

import (
	"testing"

	"github.com/sergas/dbkit/dbfx/migrate"
	"github.com/sergas/dbkit/fxtest"
)

const (
	builds  = "select count(*) from pg_stat_activity where query ilike 'create index concurrently%' and state = 'active' and datname = current_database()"
	invalid = "select count(*) from pg_index where not indisvalid"
)

// TestPostgres_AProcessKilledWhileItBuildsAnIndex leaves an INVALID one, which the
// next start drops and makes again.
func TestPostgres_AProcessKilledWhileItBuildsAnIndex(t *testing.T) {
	t.Parallel()
	cfg := fxtest.Postgres(t)
	db := open(t, cfg)
	if _, err := db.migrator(t, service(cfg.Dialect())).To(t.Context(), 4); err != nil {
		t.Fatal(err)
	}
	holder, err := db.DB().BeginTx(t.Context(), nil) // the index waits for it, half built
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = holder.Rollback() }()
	if _, err := holder.ExecContext(t.Context(), "insert into ran values (9)"); err != nil {
		t.Fatal(err)
	}
	p := start(t, cfg, 0)
	waitFor(t, func() bool { return db.count(t, builds) == 1 && db.count(t, invalid) == 1 })
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-p.done
	waitFor(t, func() bool { return db.count(t, builds) == 0 }) // the server has seen it
	if n := db.count(t, invalid); n != 1 {
		t.Fatalf("%d invalid indexes, want 1", n)
	}
	if err := holder.Rollback(); err != nil {
		t.Fatal(err)
	}
	next := start(t, cfg, 0)
	next.mustEnd(t)
	contains(t, next.output(), "left invalid")
	mustHaveRunOnce(t, db)
	if n := db.count(t, invalid); n != 0 {
		t.Errorf("%d invalid indexes, want none", n)
	}
}

// TestPostgres_ALineCutInAFileWithoutATransaction ends the run, as the statement
// may still run. The next run goes on with that statement.
func TestPostgres_ALineCutInAFileWithoutATransaction(t *testing.T) {
	t.Parallel()
	direct := fxtest.Postgres(t)
	cfg, link := fxtest.Proxy(t, direct)
	db, around := open(t, cfg), open(t, direct)
	around.up(t, files("00001_t.sql", "create table t (n integer);"))
	holder, err := around.DB().BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = holder.Rollback() }()
	if _, err := holder.ExecContext(t.Context(), "insert into t values (1)"); err != nil {
		t.Fatal(err)
	}
	fsys := files("00001_t.sql", "create table t (n integer);",
		"00002_bare.sql", "-- +goose NO TRANSACTION\n-- +goose Up\ncreate table once (n integer);\ncreate index concurrently t_n on t (n);\ninsert into once values (1);")
	result := make(chan error, 1)
	go func() {
		m, err := migrate.New(db.Database, fsys)
		if err == nil {
			_, err = m.Up(t.Context())
		}
		result <- err
	}()
	waitFor(t, func() bool { return around.count(t, builds) == 1 && around.count(t, invalid) == 1 })
	link.Cut()
	if err := <-result; err == nil {
		t.Fatal("it went on")
	} else {
		contains(t, err.Error(), "00002_bare.sql:4", "create index concurrently t_n")
	}
	if s, err := db.migrator(t, fsys).Status(t.Context()); err != nil || s.Version != 1 {
		t.Errorf("at version %d, %v", s.Version, err)
	}
	if err := holder.Rollback(); err != nil {
		t.Fatal(err)
	}
	db.up(t, fsys)
	if n := db.count(t, "select count(*) from once"); n != 1 {
		t.Errorf("%d rows, want 1", n)
	}
	if n := db.count(t, "select count(*) from pg_index i join pg_class c on c.oid = indexrelid where relname = 't_n' and indisvalid"); n != 1 {
		t.Error("there is no valid index")
	}
}
