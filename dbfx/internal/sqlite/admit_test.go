package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// judged returns what the engine knows of a text that has run.
func judged(t *testing.T, e *Engine, db *sql.DB, query string) need {
	t.Helper()
	c, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, _ = c.ExecContext(t.Context(), query)
	_ = c.Close()
	return e.plan(query).need
}

func TestPlan_IsWhatSQLiteSays(t *testing.T) {
	t.Parallel()
	db, e := open(t, 8)
	mustExec(t, db, "create table t (a integer, updated_at text); create view v as select a from t")
	tests := map[string]need{
		"select 1":                            needRead,
		"select 1; ":                          needRead,
		"select 1; -- a comment":              needRead,
		"select ';', a from t":                needRead,
		"select 1; select 2":                  needRead,
		"select 1; delete from t":             needWrite,
		"values (1)":                          needRead,
		"explain insert into t values (1, 2)": needRead,
		"explain query plan delete from t":    needRead,
		"with x as (select updated_at from t) select * from x":                                      needRead,
		"with x as (select 'delete; insert') select * from x":                                       needRead,
		"with x as (select 1) insert into t select *, '' from x":                                    needWrite,
		"with x as (select 1) update t set a = 2 where a in x":                                      needWrite,
		"with recursive n(i) as (select 1 union all select i+1 from n where i < 3) select * from n": needRead,
		"/* c */ -- d\n delete from t":                                                              needWrite,
		"insert into t values (1, '') returning a":                                                  needWrite,
		"replace into t values (1, '')":                                                             needWrite,
		"create table if not exists u (a)":                                                          needWrite,
		"create temp table if not exists w (a)":                                                     needWrite,
		"create table z (a); insert into z values (1)":                                              needWrite,
		"drop table if exists nothing":                                                              needWrite,
		"vacuum":                                                                                    needWrite,
		"analyze":                                                                                   needWrite,
		"pragma user_version":                                                                       needOwn,
		"pragma user_version = 3":                                                                   needWrite,
		"pragma main.user_version(3)":                                                               needWrite,
		"PRAGMA /* c */ [main] . \"user_version\" = 3":                                              needWrite,
		"pragma foreign_keys = 0":                                                                   needOwn,
		"pragma table_info(t)":                                                                      needRead,
		"pragma optimize":                                                                           needWrite,
		"pragma wal_checkpoint":                                                                     needWrite,
		"pragma journal_mode":                                                                       needOwn,
		"begin":                                                                                     needOwn,
		"begin immediate":                                                                           needWrite,
		"begin /* c */ exclusive":                                                                   needWrite,
		"begin; insert into t values (1, ''); commit":                                               needWrite,
		"begin; select 1; commit":                                                                   needOwn,
		"savepoint s; release s":                                                                    needOwn,
		"":                                                                                          needRead,
		"--":                                                                                        needRead,
		";;":                                                                                        needRead,
		"create trigger if not exists r after insert on t begin delete from t where a = 7; select 1; end": needWrite,
	}
	for query, want := range tests {
		if got := judged(t, e, db, query); got != want {
			t.Errorf("%q: got %d, want %d", query, got, want)
		}
	}
}

func TestPlans_AreBounded(t *testing.T) {
	t.Parallel()
	var k plans
	for i := range 100_000 {
		k.add(&plan{query: fmt.Sprintf("select %d", i)})
	}
	k.add(&plan{query: strings.Repeat("x", longestKept+1)})
	if k.bytes > mostPlans+longestKept || len(k.known) == 0 {
		t.Errorf("%d texts of %d bytes", len(k.known), k.bytes)
	}
}

// TestRows_InRowsWithWritesInside: each loop holds a connection that reads, and
// nobody who waits to write does.
func TestRows_InRowsWithWritesInside(t *testing.T) {
	t.Parallel()
	db, e := open(t, 8)
	mustExec(t, db, "create table t (a integer); insert into t values (1), (2), (3); create table log (a integer)")
	const loops = 40
	var wg sync.WaitGroup
	for range loops {
		wg.Go(func() {
			outer, err := db.QueryContext(t.Context(), "select a from t")
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = outer.Close() }()
			for outer.Next() {
				inner, err := db.QueryContext(t.Context(), "with x as (select a as updated_at from t) select updated_at from x")
				if err != nil {
					t.Error(err)
					return
				}
				for inner.Next() {
					mustExec(t, db, "insert into log values (1)")
				}
				_ = inner.Close()
			}
		})
	}
	wg.Wait()
	var n int
	if err := db.QueryRowContext(t.Context(), "select count(*) from log").Scan(&n); err != nil || n != loops*9 {
		t.Errorf("got %d rows, %v, want %d", n, err, loops*9)
	}
	if f := e.Figures(); f.Write.Holder != "" || f.Handles[1].InUse != 0 {
		t.Errorf("something is still held: %+v %+v", f.Handles, f.Write)
	}
}

func TestQuery_BareResultsThatWriteEndWithTheirContext(t *testing.T) {
	t.Parallel()
	db, _ := open(t, 8)
	mustExec(t, db, "create table t (a integer)")
	for _, query := range []string{
		"with x as (" + slowSecondRow + ") select * from x",
		// all rows of RETURNING are made before the first is returned
		"insert into t with recursive n(i) as (select 1 union all select i + 1 from n where i < 100000000) select i from n returning a",
	} {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(50*time.Millisecond, cancel)
		rows, err := db.QueryContext(ctx, query)
		if err == nil {
			for rows.Next() {
			}
			err = rows.Err()
			_ = rows.Close()
		}
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v", query, err)
		}
		cancel()
	}
	var n int
	if err := db.QueryRowContext(t.Context(), "select count(*) from t").Scan(&n); err != nil || n != 0 {
		t.Errorf("got %d rows, %v", n, err)
	}
}

func TestStmt_OutlivesItsRealConnections(t *testing.T) {
	t.Parallel()
	db, e := open(t, 8)
	mustExec(t, db, "create table t (a integer)")
	insert, err := db.PrepareContext(t.Context(), "insert into t values (?)")
	if err != nil {
		t.Fatal(err)
	}
	read, err := db.PrepareContext(t.Context(), "select count(*) from t")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 6 {
		if _, err := insert.ExecContext(t.Context(), i); err != nil {
			t.Fatal(err)
		}
		var n int
		if err := read.QueryRowContext(t.Context()).Scan(&n); err != nil || n != i+1 {
			t.Errorf("got %d, %v", n, err)
		}
		e.Renew() // every real connection is closed
	}
	for _, s := range []*sql.Stmt{insert, read} {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := db.PrepareContext(t.Context(), "selekt 1"); err == nil {
		t.Error("a syntax error was prepared")
	}
	if _, err := db.PrepareContext(t.Context(), "pragma query_only = 1"); err != nil {
		t.Error(err)
	}
	mustExec(t, db, "insert into t values (7)") // to prepare the PRAGMA did not run it
}
