package fxtest_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"
	"time"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

const (
	allOfKV = "select * from kv"
	someKV  = "select * from kv where v = $1"
	bumpKV  = "update kv set k = k where v = $1 returning *"
)

// planned returns an application with one connection, through args or behind a
// PgBouncer, and a way to change the table kv past it.
func planned(t *testing.T, args string, pooler bool) (app *fxtest.App, change func(texts ...string)) {
	t.Helper()
	cfg := fxtest.Postgres(t)
	direct := fxtest.New(t, fxtest.Use(cfg))
	change = func(texts ...string) {
		t.Helper()
		for _, text := range texts {
			if _, err := direct.DB.ExecContext(t.Context(), text); err != nil {
				t.Fatal(err)
			}
		}
	}
	change("create table kv (k text primary key, v integer)", "insert into kv values ('a', 1)")
	through := hosts(cfg, "sslmode=disable"+args, cfg.Port)
	if pooler {
		through = hosts(cfg, "sslmode=disable"+args, bouncer(t, cfg, "pool_mode = transaction"))
		through.Pooler = dbfx.PoolerTransaction
	}
	through.PoolSize, through.MaxOverflow = 1, 0
	return fxtest.New(t, fxtest.Use(through)), change
}

// plannedWays are the ways in which a statement of the application is cached.
var plannedWays = map[string]struct {
	args   string
	pooler bool
}{
	"by name":          {"", false},
	"its types":        {"&default_query_exec_mode=cache_describe", false},
	"behind PgBouncer": {"", true},
}

// readAll is a query whose columns are those of the table.
func readAll(ctx context.Context, db dbfx.DBTX, query string, args ...any) error {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	for rows.Next() {
		continue
	}
	return errors.Join(rows.Err(), rows.Close())
}

// TestPostgres_AFirstStatementIsPlannedAnew: a plan that another session's DDL has made
// useless fails no bare statement and no session, whose function runs once.
func TestPostgres_AFirstStatementIsPlannedAnew(t *testing.T) {
	t.Parallel()
	for way, tt := range plannedWays {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			app, change := planned(t, tt.args, tt.pooler)
			shared, err := app.DB.PrepareContext(t.Context(), someKV)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = shared.Close() }()
			calls, columns := 0, 2
			uses := map[string]func(ctx context.Context, db dbfx.DBTX) error{
				"Query": func(ctx context.Context, db dbfx.DBTX) error { return readAll(ctx, db, someKV, "1") },
				"QueryRow": func(ctx context.Context, db dbfx.DBTX) error {
					row := make([]any, columns)
					for i := range row {
						row[i] = new(any)
					}
					return db.QueryRowContext(ctx, someKV, "1").Scan(row...)
				},
				"Exec": func(ctx context.Context, db dbfx.DBTX) error {
					result, err := db.ExecContext(ctx, bumpKV, "1")
					if n := int64(0); err == nil {
						if n, err = result.RowsAffected(); n != 1 {
							t.Errorf("%d rows are affected", n)
						}
					}
					return err
				},
				"Prepare": func(ctx context.Context, db dbfx.DBTX) error {
					stmt, err := db.PrepareContext(ctx, someKV)
					if err != nil {
						return err
					}
					_, err = stmt.ExecContext(ctx, "1")
					return errors.Join(err, stmt.Close())
				},
				"prepared before": func(ctx context.Context, db dbfx.DBTX) error {
					stmt := shared
					if tx, ok := db.(*dbfx.Session); ok {
						stmt = tx.SQLTx().StmtContext(ctx, shared)
					}
					rows, err := stmt.QueryContext(ctx, "1")
					if err != nil {
						return err
					}
					return rows.Close()
				},
			}
			for how, use := range uses {
				session := func(ctx context.Context, tx *dbfx.Session) error {
					calls++
					if err := use(ctx, tx); err != nil || how == "Prepare" { // what was prepared just now is not planned anew
						return err
					}
					return readAll(ctx, tx, allOfKV)
				}
				for what, work := range map[string]func() error{
					"bare": func() error { calls++; return use(t.Context(), app.DB) },
					"Run":  func() error { return app.Sessions.Run(t.Context(), session) },
					"View": func() error { return app.Sessions.View(t.Context(), session) },
				} {
					if how == "Exec" && what == "View" {
						continue // it writes
					}
					for _, tt := range []struct {
						ddl, undo string
						columns   int
					}{
						{"alter table kv add column c integer", "alter table kv drop column c", 3},
						{"alter table kv alter v type text", "alter table kv alter v type integer using 1", 2},
					} {
						columns = 2
						if err := app.Sessions.Run(t.Context(), noop); err != nil { // it sends nothing
							t.Fatal(err)
						}
						for range 2 {
							if err := work(); err != nil {
								t.Fatalf("%s in %s: %v", how, what, err)
							}
						}
						change(tt.ddl)
						calls, columns = 0, tt.columns
						if err := work(); err != nil || calls != 1 {
							t.Errorf("%s in %s after %q: %v, after %d calls", how, what, tt.ddl, err, calls)
						}
						change(tt.undo)
						app.Sessions.Renew()
					}
				}
			}
		})
	}
}

// TestReplica_AFirstStatementIsPlannedAnew: there BEGIN, and the question how far it
// lags, go before it.
func TestReplica_AFirstStatementIsPlannedAnew(t *testing.T) {
	t.Parallel()
	_, standby, cfg := pair(t)
	there := cfg
	there.Port = standby.Port()
	direct, onStandby := fxtest.New(t, fxtest.Use(cfg)), fxtest.New(t, fxtest.Use(there))
	change := func(text string, columns int) {
		t.Helper()
		if _, err := direct.DB.ExecContext(t.Context(), text); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
			var n int
			err := onStandby.DB.QueryRowContext(t.Context(), "select count(*) from pg_attribute where attrelid = to_regclass('kv') and attnum > 0").Scan(&n)
			if err == nil && n == columns {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("the standby has %d columns, %v", n, err)
			}
		}
	}
	change("create table kv (k text primary key, v integer)", 2)
	for _, lag := range []time.Duration{0, time.Hour} {
		withOne := withReplica(cfg, standby.Port(), "sslmode=disable")
		withOne.PoolSize, withOne.MaxOverflow, withOne.DatabaseReplicaMaxLag = 1, 0, lag
		db := open(t, withOne)
		waitForPort(t, db.Sessions(), standby.Port())
		view := func() (port int) {
			t.Helper()
			err := db.Sessions().View(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
				return errors.Join(readAll(ctx, tx, allOfKV), tx.QueryRowContext(ctx, "select inet_server_port()").Scan(&port))
			})
			if err != nil {
				t.Error(err)
			}
			return port
		}
		for deadline := time.Now().Add(time.Minute); view() != standby.Port() && time.Now().Before(deadline); {
			time.Sleep(10 * time.Millisecond)
		}
		if lag == 0 {
			change("alter table kv add column c integer", 3)
		} else {
			change("alter table kv add column d integer", 4)
		}
		view()
	}
}

// TestPostgres_EveryConnectionPlansAnew: the connections of a pool are replaced when one
// has met a changed table.
func TestPostgres_EveryConnectionPlansAnew(t *testing.T) {
	t.Parallel()
	app := postgres(t, func(c *dbfx.Config) { c.PoolSize, c.MaxOverflow = 3, 0 })
	onEach := func(work func(*sql.Conn) error) {
		t.Helper()
		var conns []*sql.Conn
		for range 3 {
			conn, err := app.DB.Conn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			conns = append(conns, conn)
		}
		for _, conn := range conns {
			if err := errors.Join(work(conn), conn.Close()); err != nil {
				t.Error(err)
			}
		}
	}
	onEach(func(conn *sql.Conn) error { return readAll(t.Context(), conn, allOfKV) })
	if _, err := app.DB.ExecContext(t.Context(), "alter table kv add column c integer"); err != nil {
		t.Fatal(err)
	}
	if err := readAll(t.Context(), app.DB, allOfKV); err != nil {
		t.Error(err)
	}
	onEach(func(conn *sql.Conn) error {
		tx, err := conn.BeginTx(t.Context(), nil)
		if err != nil {
			return err
		}
		return errors.Join(readAll(t.Context(), tx, allOfKV), tx.Rollback())
	})
}
