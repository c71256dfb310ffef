package fxtest_test

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

func TestSQLite_PragmasHoldOnEveryConnection(t *testing.T) {
	t.Parallel()
	cfg := fxtest.SQLite(t)
	cfg.SQLiteMaxConns = 4
	app := fxtest.New(t, fxtest.Use(cfg))
	want := map[string]string{
		"journal_mode": "wal", "synchronous": "1", "foreign_keys": "1", "cache_size": "-65536",
		"temp_store": "2", "busy_timeout": "5000", "journal_size_limit": "33554432", "wal_autocheckpoint": "1000", "query_only": "0",
	}
	check := func(t *testing.T, name, want string, query func(string) *sql.Row) {
		t.Helper()
		var got string
		if err := query("pragma " + name).Scan(&got); err != nil || got != want {
			t.Errorf("%s: got %q, %v, want %q", name, got, err, want)
		}
	}
	for range 2 { // the second time with connections that replaced interrupted ones
		var conns []*sql.Conn
		for range cfg.SQLiteMaxConns {
			conn, err := app.DB.Conn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			conns = append(conns, conn)
		}
		for _, conn := range conns {
			for name, value := range want {
				check(t, name, value, func(q string) *sql.Row { return conn.QueryRowContext(t.Context(), q) })
			}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() {
				defer close(done)
				_, _ = conn.ExecContext(ctx, "with recursive n(i) as (select 1 union all select i + 1 from n) select max(i) from n")
			}()
			cancel()
			<-done
			if err := conn.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	err := app.Sessions.View(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
		want["cache_size"], want["query_only"] = "-16384", "1"
		for name, value := range want {
			check(t, name, value, func(q string) *sql.Row { return tx.QueryRowContext(ctx, q) })
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestSQLite_MemoryKeepsItsData(t *testing.T) {
	t.Parallel()
	for _, spelling := range []string{":memory:", "file::memory:", "file::memory:?cache=shared", "file:x?mode=memory&cache=shared"} {
		t.Run(spelling, func(t *testing.T) {
			t.Parallel()
			cfg := dbfx.DefaultConfig()
			cfg.SQLitePath = spelling
			app := fxtest.New(t, fxtest.Use(cfg))
			ctx := t.Context()
			if _, err := app.DB.ExecContext(ctx, "create table kv (k text, v integer)"); err != nil {
				t.Fatal(err)
			}
			if err := app.Sessions.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error { return put(ctx, tx, "a", 1) }); err != nil {
				t.Fatal(err)
			}
			cancelled, cancel := context.WithCancel(ctx)
			cancel()
			_, _ = app.DB.ExecContext(cancelled, "select 1")
			err := app.Sessions.View(ctx, func(ctx context.Context, tx *dbfx.Session) error {
				if err := put(ctx, tx, "b", 1); err == nil {
					t.Error("a write in View succeeded")
				}
				return errBoom
			})
			wantIs(t, err, errBoom)
			wantCount(t, app, "%", 1)
			if err := put(ctx, app.DB, "c", 1); err != nil {
				t.Error("after View the connection refuses writes:", err)
			}
		})
	}
}

func TestSQLite_AVanishedFileIsNotReplacedByAnEmptyOne(t *testing.T) {
	t.Parallel()
	app := fxtest.New(t)
	if _, err := app.DB.ExecContext(t.Context(), "create table kv (k text, v integer)"); err != nil {
		t.Fatal(err)
	}
	if err := remove(app.Config.SQLitePath); err != nil {
		t.Fatal(err)
	}
	app.Sessions.Renew() // the open connections are closed
	if err := app.DB.PingContext(t.Context()); err == nil {
		t.Error("a new connection made a new and empty database")
	}
}

func TestSQLite_StartSaysWhatItFound(t *testing.T) {
	t.Parallel()
	cfg := fxtest.SQLite(t)
	first, err := dbfx.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := first.DB().ExecContext(t.Context(), "create table t (x)"); err != nil {
		t.Fatal(err)
	}
	copied := fxtest.SQLite(t) // as a crash leaves it
	for _, suffix := range []string{"", "-wal"} {
		text, err := os.ReadFile(cfg.SQLitePath + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(copied.SQLitePath+suffix, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := first.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	supply, logs := logger()
	app := fxtest.New(t, fxtest.Use(copied), supply)
	var all strings.Builder
	for _, entry := range logs.All() {
		all.WriteString(entry.Message + "\n")
	}
	if !contains(all.String(), "-wal with ", "can be read by every user") {
		t.Errorf("got\n%s", all.String())
	}
	if _, err := app.DB.ExecContext(t.Context(), "select x from t"); err != nil {
		t.Error("what the log held is lost:", err)
	}
}

func TestSQLite_KilledProcessLosesNothingItAcknowledged(t *testing.T) {
	if childPart() {
		cfg := dbfx.DefaultConfig()
		cfg.SQLitePath = os.Getenv("FXTEST_PATH")
		db, err := dbfx.Open(context.Background(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; ; i++ { // until it is killed
			key := fmt.Sprintf("%d-%d", os.Getpid(), i)
			err := db.Sessions().Run(context.Background(), func(ctx context.Context, tx *dbfx.Session) error {
				_, err := tx.ExecContext(ctx, "insert into kv values ($1, 1)", key)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			fmt.Printf("ack %s\n", key)
		}
	}
	t.Parallel()
	cfg := fxtest.SQLite(t)
	first, err := dbfx.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := first.DB().ExecContext(t.Context(), "create table kv (k text primary key, v integer)"); err != nil {
		t.Fatal(err)
	}
	if err := first.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	acknowledged := map[string]bool{}
	for range 50 {
		cmd := child(t, "FXTEST_PATH="+cfg.SQLitePath)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		stopAt := 1 + rand.IntN(300)
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); {
			if key, ok := strings.CutPrefix(lines.Text(), "ack "); ok {
				acknowledged[key] = true
				if n++; n == stopAt {
					_ = cmd.Process.Kill() // what it still printed is read on
				}
			}
		}
		_ = cmd.Wait()
		db, err := dbfx.Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		var check string
		if err := db.DB().QueryRowContext(t.Context(), "pragma integrity_check").Scan(&check); err != nil || check != "ok" {
			t.Errorf("integrity_check: %q, %v", check, err)
		}
		there := map[string]bool{}
		rows, err := db.DB().QueryContext(t.Context(), "select k from kv")
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			var k string
			if err := rows.Scan(&k); err != nil {
				t.Error(err)
			}
			there[k] = true
		}
		_ = rows.Close()
		for key := range acknowledged {
			if !there[key] {
				t.Fatalf("row %s was acknowledged and is gone", key)
			}
		}
		if err := db.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	t.Logf("%d acknowledged rows are there after 50 kills", len(acknowledged))
}

func TestSQLite_ManyProcessesOpenANewFileAtOnce(t *testing.T) {
	if childPart() {
		cfg := dbfx.DefaultConfig()
		cfg.SQLitePath = os.Getenv("FXTEST_PATH")
		cfg.SQLiteBusyTimeout, cfg.StartTimeout = time.Minute, 2*time.Minute // the others may be slow
		for _, err := os.Stat(os.Getenv("FXTEST_GO")); err != nil; _, err = os.Stat(os.Getenv("FXTEST_GO")) {
			runtime.Gosched()
		}
		db, err := dbfx.Open(context.Background(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			if _, err := db.DB().Exec("create table if not exists t (x); insert into t values (1)"); err != nil {
				t.Error(err)
			}
		}
		if err := db.Close(context.Background()); err != nil {
			t.Error(err)
		}
		return
	}
	t.Parallel()
	for range 3 {
		cfg, signal := fxtest.SQLite(t), filepath.Join(t.TempDir(), "go")
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if out, err := child(t, "FXTEST_PATH="+cfg.SQLitePath, "FXTEST_GO="+signal).CombinedOutput(); err != nil {
					t.Errorf("%v\n%s", err, out)
				}
			})
		}
		if err := os.WriteFile(signal, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		var n int
		app := fxtest.New(t, fxtest.Use(cfg))
		if err := app.DB.QueryRowContext(t.Context(), "select count(*) from t").Scan(&n); err != nil || n != 160 {
			t.Errorf("got %d rows, %v, want 160", n, err)
		}
	}
}

func TestSQLite_WritersInOneProcessNeverMeetABusyDatabase(t *testing.T) {
	t.Parallel()
	cfg := fxtest.SQLite(t)
	cfg.SQLiteBusyTimeout, cfg.PoolTimeout = time.Minute, 2*time.Minute
	app := fxtest.New(t, fxtest.Use(cfg))
	if _, err := app.DB.ExecContext(t.Context(), "create table kv (k text, v integer); insert into kv values ('n', 0)"); err != nil {
		t.Fatal(err)
	}
	const writers, each = 32, 30
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for range each {
				var err error
				switch w % 4 {
				case 0:
					err = app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
						_, err := tx.ExecContext(ctx, "update kv set v = v + 1")
						return err
					})
				case 1:
					_, err = app.DB.ExecContext(t.Context(), "update kv set v = v + 1")
				case 2:
					err = app.DB.QueryRowContext(t.Context(), "update kv set v = v + 1 returning v").Scan(new(int))
				case 3:
					var tx *sql.Tx
					if tx, err = app.DB.BeginTx(t.Context(), nil); err == nil {
						_, _ = tx.ExecContext(t.Context(), "update kv set v = v + 1")
						err = tx.Commit()
					}
				}
				if err != nil {
					t.Error(err)
				}
				if err := app.Sessions.View(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
					return tx.QueryRowContext(ctx, "select v from kv").Scan(new(int))
				}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	var n int
	if err := app.DB.QueryRowContext(t.Context(), "select v from kv").Scan(&n); err != nil || n != writers*each {
		t.Errorf("got %d, %v, want %d", n, err, writers*each)
	}
}

// The texts are those of SQLAlchemy's DateTime and of CURRENT_TIMESTAMP.
func TestSQLite_TimesEqualWhatOthersWrite(t *testing.T) {
	t.Parallel()
	app := fxtest.New(t)
	if _, err := app.DB.ExecContext(t.Context(), `create table ts (at datetime); insert into ts values
		('2026-03-04 12:00:00.500000'), ('2026-03-04 12:00:00.000001'), ('2026-03-04 12:00:00.120000'), ('2026-03-04 12:00:00')`); err != nil {
		t.Fatal(err)
	}
	for _, at := range []time.Duration{500 * time.Millisecond, time.Microsecond, 120 * time.Millisecond, 0} {
		var got time.Time
		want := time.Date(2026, 3, 4, 13, 0, 0, int(at), time.FixedZone("", 3600))
		if err := app.DB.QueryRowContext(t.Context(), "select at from ts where at = $1", want).Scan(&got); err != nil || !got.Equal(want) {
			t.Errorf("%s: got %s, %v", want, got, err)
		}
	}
}

func TestSQLite_NamedArgumentsTakeEveryLetter(t *testing.T) {
	t.Parallel()
	app := fxtest.New(t)
	var got string
	err := app.DB.QueryRowContext(t.Context(), "select :größe || @имя || $名 || :a", sql.Named("größe", "1"), sql.Named("имя", "2"),
		sql.Named("名", "3"), sql.Named("a", "4")).Scan(&got)
	if err != nil || got != "1234" {
		t.Errorf("got %q, %v", got, err)
	}
}
