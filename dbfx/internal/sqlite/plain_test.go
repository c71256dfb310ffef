package sqlite

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"testing"
)

// TestStatements_AreThoseOfPlainModernc runs the same texts, one after the other, on
// the driver itself: the same rows and the same errors.
func TestStatements_AreThoseOfPlainModernc(t *testing.T) {
	t.Parallel()
	mine, _ := open(t, 8)
	plain, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "plain.db")+"?_error_rc=1")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = plain.Close() }()
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
