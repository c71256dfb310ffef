package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sergas/dbkit/dbfx/internal/engine"
)

// other opens the file as another program would, and counts.
func other(t *testing.T, e *Engine, query string) (n int) {
	t.Helper()
	db, err := sql.Open("sqlite", e.path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if err := db.QueryRowContext(t.Context(), query).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func text(t *testing.T, q interface {
	QueryRowContext(context.Context, string, ...any) *sql.Row
}, query string) (s string) {
	t.Helper()
	if err := q.QueryRowContext(t.Context(), query).Scan(&s); err != nil {
		t.Fatal(query, err)
	}
	return s
}

func TestConn_KeepsItsRealConnectionUntilItGoesBack(t *testing.T) {
	t.Parallel()
	db, e := open(t, 8)
	mustExec(t, db, "create table t (a integer primary key)")
	c := pin(t, db)
	mustExec(t, c, "select a from t")
	mustExec(t, c, "create temp table mine (a); insert into mine values (1)")
	mustExec(t, c, "attach ':memory:' as extra; create table extra.x (a); insert into extra.x values (2)")
	mustExec(t, c, "pragma recursive_triggers = 1")
	for range 3 { // others write meanwhile: to have a connection is not to have the queue
		mustExec(t, db, "insert into t default values")
	}
	if got := text(t, c, "select (select a from mine) || (select a from extra.x)"); got != "12" {
		t.Errorf("got %s", got)
	}
	if got := text(t, c, "pragma recursive_triggers"); got != "1" {
		t.Errorf("the pragma is gone: %s", got)
	}
	mustExec(t, c, "insert into t values (1000)")
	mustExec(t, db, "insert into t values (5000)")
	if got := text(t, c, "select last_insert_rowid() || ' ' || changes()"); got != "1000 1" {
		t.Errorf("got %s", got)
	}
	_ = c.Close()
	for range 5 {
		c := pin(t, db)
		if got := text(t, c, "pragma recursive_triggers"); got != "0" {
			t.Error("the pragma reached the next user")
		}
		if _, err := c.ExecContext(t.Context(), "select a from temp.mine"); err == nil {
			t.Error("the temporary table reached the next user")
		}
		if _, err := c.ExecContext(t.Context(), "select a from extra.x"); err == nil {
			t.Error("the attached database reached the next user")
		}
	}
	if f := e.Figures(); f.Write.Holder != "" {
		t.Errorf("the queue is held by %s", f.Write.Holder)
	}
}

func TestConn_WhatASessionLeavesInMemoryIsTakenBack(t *testing.T) {
	t.Parallel()
	db := memory(t)
	mustExec(t, db, "create table t (a integer primary key); insert into t values (1)")
	c := pin(t, db)
	mustExec(t, c, "pragma foreign_keys = 0; attach ':memory:' as extra; create temp table mine (a); create table extra.x (a); pragma query_only = 1")
	_ = c.Close()
	c = pin(t, db)
	mustExec(t, c, "create temp trigger refuse after insert on main.t begin select raise(abort, 'of another user'); end")
	mustExec(t, c, "create virtual table temp.f using fts5(x); create temp table mine (a); create temp view seen as select * from mine")
	mustExec(t, c, "pragma full_column_names = 1; pragma short_column_names = 0; pragma max_page_count = 3")
	raw(t, c, func(c *conn) { c.RegisterCommitHook(func() int32 { return 1 }) })
	_ = c.Close()
	if got := text(t, db, "select count(*) from temp.sqlite_schema"); got != "0" {
		t.Errorf("%s temporary things are left", got)
	}
	if got := text(t, db, "pragma foreign_keys"); got != "1" {
		t.Errorf("foreign_keys: got %s", got)
	}
	for _, query := range []string{"select * from extra.x", "select * from temp.mine"} {
		if _, err := db.ExecContext(t.Context(), query); err == nil {
			t.Error(query, "works for the next user")
		}
	}
	mustExec(t, db, "insert into t values (2)")
	mustExec(t, db, "create table large (a); insert into large values (zeroblob(100000))")
	if got := text(t, db, "select count(*) from t"); got != "2" {
		t.Errorf("the data: got %s rows", got)
	}
}

// memory opens a database in memory.
func memory(t *testing.T) *sql.DB {
	t.Helper()
	e := New(Options{Memory: true, BusyTimeout: 200 * time.Millisecond, StatementCache: 8, Pragmas: []Pragma{{Name: "foreign_keys", Value: "1", Want: "1"}}})
	db := e.Main().Open(sql.OpenDB)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func TestConn_AHandTypedBeginTakesTheQueueAtItsFirstWrite(t *testing.T) {
	t.Parallel()
	db, e := open(t, 8)
	mustExec(t, db, "create table t (a integer)")
	for _, begin := range []string{"begin", "begin immediate", "savepoint s", "select 1; begin; insert into t values (0)"} {
		c := pin(t, db)
		mustExec(t, c, begin)
		if begin == "begin" {
			mustExec(t, db, "insert into t values (9)") // it has not written yet
		}
		mustExec(t, c, "insert into t values (1)")
		if f := e.Figures(); f.Write.Holder != bareUse {
			t.Errorf("%s: the queue is held by %q", begin, f.Write.Holder)
		}
		var wg sync.WaitGroup
		wg.Go(func() { mustExec(t, db, "insert into t values (2)") }) // waits, and not for the busy timeout
		if got := text(t, db, "select count(*) from t where a = 1"); got != "0" {
			t.Errorf("%s: read %s uncommitted rows", begin, got)
		}
		end := "commit"
		if strings.HasPrefix(begin, "savepoint") {
			end = "release s"
		}
		mustExec(t, c, end)
		wg.Wait()
		if f := e.Figures(); f.Write.Holder != "" {
			t.Errorf("%s: the queue is still held", begin)
		}
		_ = c.Close()
		mustExec(t, db, "delete from t")
	}
}

func TestConn_ATransactionLeftOpenEndsWhenItGoesBack(t *testing.T) {
	t.Parallel()
	db, e := open(t, 8)
	mustExec(t, db, "create table t (a integer unique)")
	scripts := []string{
		"pragma foreign_keys = off; begin; insert into t values (1); insert into t values (1); commit",
		"select 1; begin; insert into t values (1)",
		"/* c */ savepoint s; insert into t values (1)",
		"begin; insert into t values (1); selekt",
		"; ; begin exclusive; insert into t values (1)",
		"create table if not exists u (a); begin; insert into t values (1)",
	}
	for i, script := range scripts {
		_, _ = db.ExecContext(t.Context(), script)
		for range 3 {
			mustExec(t, db, "insert into t values (?)", nil)
		}
		if n := other(t, e, "select count(*) from t where a is null"); n != 3*(i+1) {
			t.Errorf("%s: another process sees %d of %d acknowledged rows", script, n, 3*(i+1))
		}
		if n := other(t, e, "select count(*) from t where a = 1"); n != 0 {
			t.Errorf("%s: what was not committed is there", script)
		}
	}
}

func TestConn_ADumpCutAtAnyMomentPoisonsNothing(t *testing.T) {
	t.Parallel()
	db, e := open(t, 8)
	mustExec(t, db, "create table marks (a integer)")
	dump := "PRAGMA foreign_keys=OFF; BEGIN TRANSACTION; create table if not exists d (a); delete from d;" +
		strings.Repeat("insert into d values (1);", 2000) + "COMMIT;"
	for i := range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Duration(i)*time.Millisecond/2, cancel)
		_, err := db.ExecContext(ctx, dump)
		cancel()
		mustExec(t, db, "insert into marks values (1)")
		if n := other(t, e, "select count(*) from marks"); n != i+1 {
			t.Fatalf("after a dump that ended with %v: another process sees %d marks of %d", err, n, i+1)
		}
		if i == 0 {
			continue // perhaps there is no table yet
		}
		if n := other(t, e, "select coalesce((select count(*) from sqlite_schema where name = 'd'), 0)"); n == 1 {
			if n := other(t, e, "select count(*) from d"); n != 0 && n != 2000 {
				t.Errorf("half a dump is there: %d rows", n)
			}
		}
	}
}

func TestMemory_AWaitIsBoundedAndSaysWhy(t *testing.T) {
	t.Parallel()
	db := memory(t)
	mustExec(t, db, "create table t (a integer)")
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	for _, query := range []string{"select a from t", "insert into t values (1)"} {
		_, err := db.ExecContext(t.Context(), query)
		var locked *engine.LockedError
		if !errors.As(err, &locked) || !strings.Contains(err.Error(), "memory") || !strings.Contains(err.Error(), "SQLITE_BUSY_TIMEOUT") {
			t.Errorf("%s: got %v", query, err)
		}
	}
}

func TestSingle_RunsEverythingOnOneConnection(t *testing.T) {
	t.Parallel()
	e := New(Options{
		Path: filepath.Join(t.TempDir(), "a.db"), Setting: "DATABASE_PATH", FileMode: 0o600, BusyTimeout: time.Minute, StatementCache: 8,
		MaxConns: 1, Pragmas: pragmas, ReadPragmas: pragmas,
	})
	db := e.Main().Open(sql.OpenDB)
	defer func() { _ = db.Close() }()
	mustExec(t, db, "create table t (a integer)")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				mustExec(t, db, "insert into t values (1)")
				tx, err := db.BeginTx(t.Context(), &sql.TxOptions{ReadOnly: true})
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := tx.ExecContext(t.Context(), "insert into t values (2)"); err == nil {
					t.Error("a read-only transaction wrote")
				}
				_ = tx.Rollback()
			}
		})
	}
	wg.Wait()
	if got := text(t, db, "select count(*) from t"); got != "160" {
		t.Errorf("got %s rows", got)
	}
	if f := e.Figures(); len(f.Handles) != 1 || f.Handles[0].Open != 1 {
		t.Errorf("got %+v", f.Handles)
	}
}

// TestConn_AStaleSnapshotCannotWrite is what no queue can mend: the transaction has
// read what is no more so.
func TestConn_AStaleSnapshotCannotWrite(t *testing.T) {
	t.Parallel()
	db, e := open(t, 8)
	mustExec(t, db, "create table t (a integer)")
	c := pin(t, db)
	mustExec(t, c, "begin; select count(*) from t")
	mustExec(t, db, "insert into t values (1)")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second) // half of the busy timeout
	defer cancel()
	if _, err := c.ExecContext(ctx, "insert into t values (2)"); code(err) != 517 {
		t.Errorf("got %v; it must not wait", err)
	}
	_ = c.Close()
	mustExec(t, db, "insert into t values (3)")
	if f := e.Figures(); f.Write.Holder != "" {
		t.Errorf("the queue is held by %s", f.Write.Holder)
	}
}
