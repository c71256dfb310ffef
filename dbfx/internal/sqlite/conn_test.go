package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// open opens a file of the test's own; size is that of the statement cache.
func open(t *testing.T, size int) (*sql.DB, *Engine) {
	t.Helper()
	e := New(Options{
		Path: filepath.Join(t.TempDir(), "a.db"), Setting: "DATABASE_PATH", FileMode: 0o600, BusyTimeout: time.Minute, StatementCache: size,
		ReadKeeper: true, Pragmas: pragmas, ReadPragmas: append(slices.Clone(pragmas), Pragma{Name: "query_only", Value: "1", Want: "1"}),
	})
	db := e.Main().Open(sql.OpenDB)
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db, e
}

var pragmas = []Pragma{{Name: "busy_timeout", Value: "60000", Want: "60000"}, {Name: "journal_mode", Value: "wal", Want: "wal"}}

// raw runs fn with the one connection of conn.
func raw(t *testing.T, c *sql.Conn, fn func(c *conn)) {
	t.Helper()
	if err := c.Raw(func(dc any) error { fn(dc.(*conn)); return nil }); err != nil {
		t.Fatal(err)
	}
}

func pin(t *testing.T, db *sql.DB) *sql.Conn {
	t.Helper()
	c, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func mustExec(t *testing.T, db interface {
	ExecContext(context.Context, string, ...any) (sql.Result, error)
}, query string, args ...any) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), query, args...); err != nil {
		t.Fatal(query, err)
	}
}

func TestDriver_HasItsHandles(t *testing.T) {
	t.Parallel()
	db, _ := open(t, 8)
	raw(t, pin(t, db), func(c *conn) {
		r, err := c.lend(needRead)
		if err != nil {
			t.Fatal(err)
		}
		stmt, err := r.raw.PrepareContext(t.Context(), "select 1")
		if err != nil {
			t.Fatal(err)
		}
		if handle(stmt, "pstmt") == 0 {
			t.Error("modernc.org/sqlite keeps its sqlite3_stmt* elsewhere: nothing says any more what a statement writes")
		}
		_ = stmt.Close()
	})
}

// TestDriver_PinsItsLibc: other pairs of versions have crashed (cznic/sqlite #177).
func TestDriver_PinsItsLibc(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"modernc.org/sqlite v1.62.0\n", "modernc.org/libc v1.80.1"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("go.mod has not %q: modernc.org/sqlite wants the very version of modernc.org/libc that its own go.mod names; change both here", want)
		}
	}
}

func TestCache_KeepsTheLastUsedAtTheirSecondSight(t *testing.T) {
	t.Parallel()
	db, _ := open(t, 4)
	c := pin(t, db)
	cached := func() (n int) { raw(t, c, func(c *conn) { n = c.real.cache.order.Len() }); return n }
	for i := range 10_000 {
		mustExec(t, c, fmt.Sprintf("select %d", i))
	}
	if n := cached(); n > 1 { // two texts may share a hash
		t.Errorf("%d statements are kept that came once", n)
	}
	for range 3 {
		for i := range 10 {
			mustExec(t, c, fmt.Sprintf("select %d + 1", i))
		}
	}
	if n := cached(); n != 4 {
		t.Errorf("got %d statements, want the bound", n)
	}
	mustExec(t, c, "create table t (a)") // on the connection that writes, which has a cache of its own
	for range 3 {
		mustExec(t, c, "create table if not exists u (a)")
	}
	if n := cached(); n != 0 {
		t.Errorf("DDL is kept: %d", n)
	}
}

func TestCache_IsCorrectWhenNestedAndWhenTheSchemaChanges(t *testing.T) {
	t.Parallel()
	db, _ := open(t, 16)
	c, other := pin(t, db), pin(t, db)
	mustExec(t, c, "create table t (a integer); insert into t values (1), (2), (3)")
	pairs := 0
	for range 3 {
		pairs = 0
		outer, err := c.QueryContext(t.Context(), "select a from t")
		if err != nil {
			t.Fatal(err)
		}
		for outer.Next() {
			inner, err := c.QueryContext(t.Context(), "select a from t")
			if err != nil {
				t.Fatal(err)
			}
			for inner.Next() {
				pairs++
			}
			if err := inner.Close(); err != nil {
				t.Error(err)
			}
		}
		if err := outer.Close(); err != nil {
			t.Error(err)
		}
	}
	if pairs != 9 {
		t.Errorf("got %d pairs, want 9", pairs)
	}
	columns := func() int {
		rows, err := c.QueryContext(t.Context(), "select * from t")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = rows.Close() }()
		names, _ := rows.Columns()
		return len(names)
	}
	for range 3 {
		columns()
	}
	mustExec(t, other, "alter table t add column b")
	if n := columns(); n != 2 {
		t.Errorf("after ALTER TABLE elsewhere: got %d columns, want 2", n)
	}
	mustExec(t, other, "drop table t")
	if _, err := c.ExecContext(t.Context(), "select * from t"); err == nil {
		t.Error("a dropped table is still there")
	}
	mustExec(t, other, "create table t (x)")
	if n := columns(); n != 1 {
		t.Errorf("after CREATE TABLE elsewhere: got %d columns, want 1", n)
	}
	for range 3 {
		mustExec(t, c, "vacuum")
		mustExec(t, c, "insert into t values (1); insert into t values (2)")
	}
	var n int
	if err := c.QueryRowContext(t.Context(), "select count(*) from t").Scan(&n); err != nil || n != 6 {
		t.Errorf("multi-statement text: got %d rows, %v, want 6", n, err)
	}
}

// slowSecondRow gives its first row at once, and its second never.
const slowSecondRow = `select 1 union all select max(i) from (
	with recursive n(i) as (select 1 union all select i + 1 from n) select i from n)`

func TestRows_EndWithTheirContextAndKeepTheConnection(t *testing.T) {
	t.Parallel()
	db, _ := open(t, 8)
	c := pin(t, db)
	var before, after *realConn
	for range 3 { // as text, prepared, cached
		ctx, cancel := context.WithCancel(t.Context())
		rows, err := c.QueryContext(ctx, slowSecondRow)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for rows.Next() {
			if n++; n == 1 {
				time.AfterFunc(20*time.Millisecond, cancel) // while the second row is made
			}
		}
		if n != 1 || !errors.Is(rows.Err(), context.Canceled) {
			t.Errorf("got %d rows and %v", n, rows.Err())
		}
		_ = rows.Close()
		cancel()
	}
	raw(t, c, func(c *conn) { before = c.real })
	_ = c.Close()
	c = pin(t, db)
	mustExec(t, c, "select 1")
	raw(t, c, func(c *conn) { after = c.real })
	if before != after {
		t.Error("the warm connection was thrown away")
	}
	mustExec(t, c, "create table t (a)")
}

func TestExec_EndsWithItsContextInEveryForm(t *testing.T) {
	t.Parallel()
	db, _ := open(t, 8)
	mustExec(t, db, "create table t (a)")
	endless := "insert into t with recursive n(i) as (select 1 union all select i + 1 from n) select max(i) from n"
	for range 4 {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		if _, err := db.ExecContext(ctx, endless); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("bare: got %v", err)
		}
		tx, err := db.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.ExecContext(ctx, "insert into t values (1)"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("with a context that had ended: got %v", err)
		}
		_ = tx.Rollback()
		cancel()
	}
	mustExec(t, db, "insert into t values (1)")
}

func TestParameters(t *testing.T) {
	t.Parallel()
	tests := []struct {
		give string
		want int
		ok   bool
	}{
		{"select 1", 0, true}, {"select ?, ?", 2, true}, {"select $1, $2, $1", 2, true}, {"select ?3", 3, true},
		{"select '?', \"$1\", `?`, [?], ?", 1, true}, {"select 1 -- ?\n, ?", 1, true}, {"select 1 /* $1 */, $2", 2, true},
		{"select 'it''s ?', ?", 1, true}, {"select :name", 0, false}, {"select @a", 0, false}, {"select $name", 0, false},
		{"select '10:30', ?", 1, true}, {"select 'open", 0, true}, {"select 1 --", 0, true}, {"select a->>'$.b', ?", 1, true},
		{"select 1 /*", 0, true}, {"select $", 0, false}, {"select :über", 0, false}, {"select @éa", 0, false}, {"select $ñ", 0, false},
		{"select a$1, ü$2 from t", 0, true}, {"select größe, ? from t", 1, true}, {"select a.b$1 + $1", 1, true},
	}
	for _, tt := range tests {
		if n, ok := parameters(tt.give); n != tt.want && tt.ok || ok != tt.ok {
			t.Errorf("%s: got %d, %t, want %d, %t", tt.give, n, ok, tt.want, tt.ok)
		}
	}
}

func TestRaw_ReachesTheDriversOwnMethods(t *testing.T) {
	t.Parallel()
	db, _ := open(t, 8)
	c := pin(t, db)
	if err := c.Raw(func(dc any) error {
		if _, ok := dc.(interface {
			FileControlDataVersion(string) (uint32, error)
		}); !ok {
			return errors.New("no FileControl")
		}
		info, err := dc.(interface{ Serialize() ([]byte, error) }).Serialize()
		if err == nil && !strings.HasPrefix(string(info), "SQLite format 3") {
			err = errors.New("not a database")
		}
		return err
	}); err != nil {
		t.Error(err)
	}
	var _ driver.Validator = (*conn)(nil)
}
