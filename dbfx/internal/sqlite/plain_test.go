package sqlite

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// beside opens a file as dbfx does, and another one with the driver itself.
func beside(t *testing.T) (mine, plain *sql.DB) {
	t.Helper()
	mine, _ = open(t, 8)
	plain, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "plain.db")+"?_error_rc=1")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = plain.Close() })
	return mine, plain
}

// TestStatements_AreThoseOfPlainModernc runs the same texts, one after the other, on
// the driver itself: the same rows and the same errors.
func TestStatements_AreThoseOfPlainModernc(t *testing.T) {
	t.Parallel()
	mine, plain := beside(t)
	texts := []string{
		"create table t (a integer primary key, b text, updated_at text); create index i on t (b)",
		"insert into t (b) values ('one;'), ('two'), ('it''s')", "select * from t", "select ';', b from t order by b; -- c",
		"with x as (select a as updated_at from t) select count(*) from x", "with x as (select 1 as a) select * from x union all select 2",
		"with x as (select 9 as a) insert into t (a) select a from x returning a", "with x as (select 9) update t set b = 'n' where a in x",
		"with recursive n(i) as (select 1 union all select i + 1 from n where i < 5) select sum(i) from n", "with x as (select 1) delete from t where a = 9",
		"select 1; select 2", "select 1; insert into t (b) values ('s')", "insert into t (b) values ('q'); select max(a) from t", "; ;", "-- nothing",
		"create table c (x); insert into c values (1), (2); select * from c", "selekt 1", "select * from nothing", "insert into t values (1, 2, 3)",
		"select 1; selekt", "insert into t (a) values (1)", "create trigger g after insert on c begin update t set b = 'g'; select 1; end; insert into c values (3)",
		"select b from t limit 1", "begin; insert into c values (4); commit", "begin; select 1; rollback", "savepoint s; insert into c values (5); rollback to s; release s",
		"select count(*) from c", "commit", "rollback", "release nothing", "pragma user_version = 4", "pragma user_version", "pragma table_info(t)", "pragma nosuch",
		"explain query plan select * from t where b = 'x'", "values (1, 2), (3, 4)", "select * from (values (1), (2))", "replace into c values (1)",
		"vacuum", "analyze", "reindex", "drop table if exists nothing", "drop table c", "create temp table w (a); insert into w values (1); drop table w",
		"attach ':memory:' as m; create table m.y (a); insert into m.y values (7); drop table m.y; detach m", "select /* ; */ 1 -- ;\n + 1", "select '", "select 1 where 0", "",
	}
	for round := range 2 { // the second time with texts that are known
		for _, query := range texts {
			if got, want := answer(mine, query), answer(plain, query); got != want {
				t.Errorf("round %d, %s:\n got %s\nwant %s", round, query, got, want)
			}
		}
	}
}

// TestExpressions_AreThoseOfPlainModernc runs forty expressions in a dozen forms of
// statement, as queries and as Exec.
func TestExpressions_AreThoseOfPlainModernc(t *testing.T) {
	t.Parallel()
	mine, plain := beside(t)
	expressions := []string{
		"1", "-9223372036854775808", "9223372036854775807 + 1", "1.5", "1e300 * 1e300", "null", "''", "'a;b'", "'it''s'", "x'00ff'", "\"a\"", "'-- no'", "'/*'",
		"1 = 1", "null is null", "2 / 0", "7 % 4", "1 << 3", "'a' || 1 || x'62'", "'10' + 5", "cast('12x' as integer)", "cast(1 as text)", "typeof(2.0)",
		"coalesce(null, 3)", "iif(1 > 2, 'y', 'n')", "case when 1 then 'one' end", "upper('ä')", "length('ä;')", "substr('abcdef', -2)", "hex(zeroblob(2))",
		"instr('a;b', ';')", "replace('a;b', ';', ',')", "printf('%05d', 42)", "round(2.5)", "abs(-9223372036854775808)", "max(1, 'a')", "json_extract('{\"a\":[1,2]}', '$.a[1]')",
		"date('2024-02-30')", "julianday('2000-01-01')", "'a' like 'A%'", "'a' glob 'A*'", "(select max(a) from t)", "exists (select 1 from t where a < 0)", "nosuch(1)", "1 +",
	}
	forms := []string{
		"select %s", "select %s as v from t order by a limit 3", "select a from t where %s order by a", "with updated_at as (select %s as v) select v from updated_at",
		"select /* ; */ %s -- ;", "select %s; select 2", "values (%s, 1)", "select %s, count(*) from t group by 1", "insert into t (b) values (%s)",
		"insert into t (b) select %s where 1 returning b", "with x as (select %s as v) update t set b = (select v from x) where a = 2",
		"begin; insert into t (b) values (%s); rollback", "select sum(v) from (select %s as v union all select 1)",
	}
	for _, db := range []*sql.DB{mine, plain} {
		if _, err := db.Exec("create table t (a integer primary key, b); insert into t (b) values ('one'), (2), (null)"); err != nil {
			t.Fatal(err)
		}
	}
	for _, form := range forms {
		for _, expression := range expressions {
			query := fmt.Sprintf(form, expression)
			if got, want := answer(mine, query), answer(plain, query); got != want {
				t.Errorf("%s:\n got %s\nwant %s", query, got, want)
			}
			rollBack := func() { _, _ = plain.Exec("rollback") } // what a text that failed left open: modernc leaves it
			rollBack()
			writes := strings.Contains(form, "insert") || strings.Contains(form, "update t")
			if got, want := outcome(mine, query, writes), outcome(plain, query, writes); got != want {
				t.Errorf("Exec %s:\n got %s\nwant %s", query, got, want)
			}
			rollBack()
		}
	}
	const all = "select a, b, typeof(b) from t order by a"
	if got, want := answer(mine, all), answer(plain, all); got != want {
		t.Errorf("what is left differs:\n got %s\nwant %s", got, want)
	}
}

// outcome is all that Exec gives. After what writes nothing, modernc counts the rows
// of the connection's last write.
func outcome(db *sql.DB, query string, writes bool) string {
	result, err := db.Exec(query)
	if err != nil {
		return "error: " + err.Error()
	}
	if !writes {
		return ""
	}
	rows, rowsErr := result.RowsAffected()
	id, idErr := result.LastInsertId()
	return fmt.Sprint(rows, rowsErr, id, idErr)
}

// answer is all that a query gives.
func answer(db *sql.DB, query string) string {
	rows, err := db.Query(query)
	if err != nil {
		return "error: " + err.Error()
	}
	defer func() { _ = rows.Close() }()
	names, _ := rows.Columns()
	text := fmt.Sprint(names)
	for rows.Next() {
		values := make([]any, len(names))
		for i := range values {
			values[i] = new(any)
		}
		if err := rows.Scan(values...); err != nil {
			return "error: " + err.Error()
		}
		for _, v := range values {
			text += fmt.Sprintf(" %v", *v.(*any))
		}
	}
	if err := rows.Err(); err != nil {
		text += " error: " + err.Error()
	}
	return text
}
