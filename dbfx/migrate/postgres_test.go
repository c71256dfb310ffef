package migrate_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sergas/dbkit/dbfx/migrate"
	"github.com/sergas/dbkit/fxtest"
)

const concurrently = "-- +goose NO TRANSACTION\n-- +goose Up\ncreate index concurrently t_n on t (n);"

// TestPostgres_ALongTransactionIsWaitedForWithoutAQueue: a transaction holds the
// table; the migration tries, gives way, and gets it when the transaction ends.
// No reader waits behind it longer than the lock timeout.
func TestPostgres_ALongTransactionIsWaitedForWithoutAQueue(t *testing.T) {
	t.Parallel()
	db := open(t, fxtest.Postgres(t))
	db.up(t, files("00001_t.sql", "create table t (n integer);"))
	holder, err := db.DB().BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = holder.Rollback() }()
	if _, err := holder.ExecContext(t.Context(), "lock table t in access share mode"); err != nil {
		t.Fatal(err)
	}
	const lock = 200 * time.Millisecond
	m := db.migrator(t, files("00001_t.sql", "create table t (n integer);", "00002_add.sql", "alter table t add column m integer;"), migrate.LockTimeout(lock))
	result := make(chan error, 1)
	go func() {
		_, err := m.Up(t.Context())
		result <- err
	}()
	// Readers go on while it tries. statement_timeout would end one that queues.
	told := func() (text string) {
		for _, entry := range db.logs.FilterMessageSnippet("tried again").All() {
			text += fmt.Sprint(entry.ContextMap()["waited_for"], entry.ContextMap()["error"])
		}
		return text
	}
	for reads := 0; strings.Count(told(), "55P03") < 3 || !strings.Contains(told(), "pid ") || reads < 20; reads++ {
		reader, err := db.DB().BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := reader.ExecContext(t.Context(), fmt.Sprintf("set local statement_timeout = %d", 25*lock.Milliseconds())); err != nil {
			t.Fatal(err)
		}
		if _, err := reader.ExecContext(t.Context(), "select count(*) from t"); err != nil {
			t.Fatal("a reader was queued behind the migration: ", err)
		}
		if err := reader.Rollback(); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-result:
			t.Fatal("it ended while the table was held: ", err)
		default:
		}
	}
	if err := holder.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := <-result; err != nil {
		t.Fatal(err)
	}
	contains(t, told(), "idle in transaction", "00002_add.sql:2")
}

func TestPostgres_AnInvalidIndexIsMadeAgain(t *testing.T) {
	t.Parallel()
	for name, again := range map[string]string{"Plain": concurrently, "IfNotExists": "-- +goose NO TRANSACTION\n-- +goose Up\ncreate unique index concurrently if not exists t_n on only public.t (n);"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := open(t, fxtest.Postgres(t))
			fsys := files("00001_t.sql", "create table t (n integer);\ninsert into t values (1), (1);")
			db.up(t, fsys)
			// A unique index on what is not unique ends in an INVALID one.
			if _, err := db.DB().ExecContext(t.Context(), "create unique index concurrently t_n on t (n)"); err == nil {
				t.Fatal("made a unique index on equal rows")
			}
			if n := db.count(t, "select count(*) from pg_index where not indisvalid"); n != 1 {
				t.Fatalf("%d invalid indexes, want 1", n)
			}
			db.exec(t, "delete from t; insert into t values (1), (2)")
			db.up(t, files("00001_t.sql", "create table t (n integer);\ninsert into t values (1), (1);", "00002_i.sql", again))
			if n := db.count(t, "select count(*) from pg_index i join pg_class c on c.oid = indexrelid where relname = 't_n' and indisvalid"); n != 1 {
				t.Error("there is no valid index")
			}
			if db.logs.FilterMessageSnippet("left invalid").Len() != 1 {
				t.Error("it was not told")
			}
		})
	}
}

// TestPostgres_ConcurrentIndexIsNotBlockedByThoseThatWaitForTheLock: a blocked
// advisory lock would have a snapshot, for which the index waits for ever.
func TestPostgres_ConcurrentIndexIsNotBlockedByThoseThatWaitForTheLock(t *testing.T) {
	t.Parallel()
	cfg := fxtest.Postgres(t)
	first := open(t, cfg)
	first.up(t, files("00001_t.sql", "create table t (n integer);"))
	// A transaction that wrote holds the index up until the others are at it.
	holder, err := first.DB().BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = holder.Rollback() }()
	if _, err := holder.ExecContext(t.Context(), "insert into t values (1)"); err != nil {
		t.Fatal(err)
	}
	fsys := files("00001_t.sql", "create table t (n integer);", "00002_i.sql", concurrently, "00003_m.sql", "alter table t add column m integer;")
	results := make(chan error, 4)
	var others []*bench
	for i := range 4 {
		b := first
		if i > 0 {
			b = open(t, cfg)
			others = append(others, b)
		}
		go func() {
			_, err := b.migrator(t, fsys).Up(t.Context())
			results <- err
		}()
	}
	// All but the one that builds are told to wait.
	waitFor(t, func() bool {
		n := first.logs.FilterMessageSnippet("waiting for another").Len()
		for _, b := range others {
			n += b.logs.FilterMessageSnippet("waiting for another").Len()
		}
		return n >= 3
	})
	if err := holder.Commit(); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if n := first.count(t, "select count(*) from goose_db_version where version_id > 0"); n != 3 {
		t.Errorf("%d versions, want 3", n)
	}
}

// waitFor waits for what another goroutine does.
func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("it did not come to pass")
		}
	}
}

func TestPostgres_NoTransactionGoesOnWhereItWasBrokenOff(t *testing.T) {
	t.Parallel()
	db := open(t, fxtest.Postgres(t))
	const first = "-- +goose NO TRANSACTION\n-- +goose Up\ncreate table t (n integer);\ncreate index concurrently t_n on t (n);\n"
	_, err := db.migrator(t, files("00001_t.sql", first+"insert into nosuch values (1);")).Up(t.Context())
	var fault *migrate.Error
	if !errors.As(err, &fault) || fault.Line != 5 {
		t.Fatal("got", err)
	}
	// The third statement is mended; the first two are not run again.
	db.up(t, files("00001_t.sql", first+"insert into t values (1);"))
	if n := db.count(t, "select count(*) from t"); n != 1 {
		t.Errorf("%d rows, want 1", n)
	}
	if n := db.count(t, "select count(*) from goose_db_version_files where statements_done > 0"); n != 0 {
		t.Error("the mark of an unfinished run stayed")
	}
}

func TestPostgres_SessionSettingsAndTheLockAreGivenBack(t *testing.T) {
	t.Parallel()
	cfg := fxtest.Postgres(t)
	cfg.PoolSize, cfg.MaxOverflow, cfg.StatementTimeout, cfg.LockTimeout = 1, 0, 31*time.Second, 32*time.Second
	db := open(t, cfg)
	db.up(t, files("00001_t.sql", "create table t (n integer);", "00002_i.sql", concurrently))
	for setting, want := range map[string]string{"statement_timeout": "31s", "lock_timeout": "32s", "idle_in_transaction_session_timeout": "0"} {
		var got string
		if err := db.DB().QueryRowContext(t.Context(), "select current_setting($1)", setting).Scan(&got); err != nil || got != want {
			t.Errorf("%s is %q afterwards, want %q: %v", setting, got, want, err)
		}
	}
	if n := db.count(t, "select count(*) from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())"); n != 0 {
		t.Errorf("%d advisory locks are left", n)
	}
}

func TestPostgres_ACancelledContextRollsBackAndSaysWhy(t *testing.T) {
	t.Parallel()
	db := open(t, fxtest.Postgres(t))
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	fsys := files("00001_t.sql", "create table t (n integer);\nselect pg_sleep(600);")
	_, err := db.migrator(t, fsys).Up(ctx)
	if err == nil {
		t.Fatal("it succeeded")
	}
	contains(t, err.Error(), "time was over", "fx.StartTimeout")
	if err := db.DB().QueryRowContext(t.Context(), "select 1 from t").Scan(new(int)); errors.Is(err, sql.ErrNoRows) {
		t.Error("the table stayed")
	}
}

// TestPostgres_ALostConnectionIsTriedAgain: the version tells whether what was lost
// had been committed, so that once is enough.
func TestPostgres_ALostConnectionIsTriedAgain(t *testing.T) {
	t.Parallel()
	db := open(t, fxtest.Postgres(t))
	db.up(t, files("00001_t.sql", "create table t (n integer);"))
	result := make(chan error, 1)
	go func() {
		m, err := migrate.New(db.Database, files("00001_t.sql", "create table t (n integer);",
			"00002_i.sql", "insert into t values (1);\nselect pg_sleep(case when (select count(*) from pg_class where relname = 'go_on') = 0 then 600 else 0 end);"))
		if err == nil {
			_, err = m.Up(t.Context())
		}
		result <- err
	}()
	sleeping := "from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database()"
	waitFor(t, func() bool { return db.count(t, "select count(*) "+sleeping) == 1 })
	db.exec(t, "create table go_on (n integer)")
	db.exec(t, "select pg_terminate_backend(pid) "+sleeping)
	if err := <-result; err != nil {
		t.Fatal(err)
	}
	if n := db.count(t, "select count(*) from t"); n != 1 {
		t.Errorf("%d rows, want 1", n)
	}
}

func TestPostgres_CutBodiesAndCopyAreExplained(t *testing.T) {
	t.Parallel()
	db := open(t, fxtest.Postgres(t))
	for text, want := range map[string][]string{
		"create function f() returns int language plpgsql as $$\nbegin\n  return 1;\nend $$;": {"1_x.sql:2", "StatementBegin"},
		"do $$\ndeclare n int;\nbegin\n  n := 1;\n  commit;\nend $$;":                         {"1_x.sql:2", "StatementBegin"},
		"create table x (n integer);\n-- rows\nCOPY public.x (n) FROM stdin;\n":               {"1_x.sql:4", "INSERT"},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		_, err := db.migrator(t, files("1_x.sql", text)).Up(ctx)
		cancel()
		if err == nil {
			t.Errorf("%s: it ran", text)
			continue
		}
		contains(t, err.Error(), want...)
	}
}
