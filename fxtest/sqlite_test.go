package fxtest_test

import (
	"context"
	"database/sql"
	"testing"

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
		"temp_store": "2", "busy_timeout": "5000", "journal_size_limit": "67108864", "query_only": "0",
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
	first, err := app.DB.Conn(t.Context()) // takes the warm connection
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = first.Close() }()
	if err := app.DB.PingContext(t.Context()); err == nil {
		t.Error("a new connection made a new and empty database")
	}
}
