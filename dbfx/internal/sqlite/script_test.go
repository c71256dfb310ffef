package sqlite

import (
	"database/sql"
	"fmt"
	"strings"
	"testing"
)

// TestScripts_AreThoseOfPlainModernc runs the same texts on the driver itself, which
// finds the end of each statement with SQLite's parser.
func TestScripts_AreThoseOfPlainModernc(t *testing.T) {
	t.Parallel()
	mine, plain := beside(t)
	texts := []string{
		"create table t (a integer primary key, b text); create table log (x)",
		"create trigger g after insert on t begin insert into log values ('in;'); update t set b = case when 1 then 'c' end; end; insert into t values (1, 'x')",
		"create/**/temp trigger [g;2] after delete on t when old.a > 0 begin select 1; end -- last\n; delete from t; select 1",
		"explain create trigger h after insert on t begin select 1; end; insert into t values (2, 'y')",
		"create temporary trigger if not exists main2 after insert on t begin delete from log where x = 'end;'; end;insert into t values (3, 'z')",
		"create trigger k after insert on t begin select 1; ; end; insert into t values (4, 'w')", "create trigger l after insert on t begin select 1; end",
		"create trigger m after insert on t begin select 1;", "create trigger n after insert on t begin select 1; end garbage; insert into t values (6, '')",
		"insert into t values (7, 'a;b'); insert into t values (8, \"c;d\"); insert into t values (9, 'it''s;') ;;; -- ; x\n /* ; */ ;",
		"create table \"end\" (a); insert into \"end\" values (1); drop table \"end\"", "create table [a;b] (`c;d`); insert into [a;b] values (1)",
		"insert into t values (10, '-- not a comment'); insert into t values (11, '/*'); insert into t values (12, '*/')",
		"insert into t values (13, ''); insert into t values (13, ''); insert into t values (14, '')", "insert into t values (15, ''); selekt; insert into t values (16, '')",
		"begin; insert into t values (17, ''); rollback; insert into t values (18, '')", "begin; insert into t values (19, ''); end;", "savepoint end1; release end1",
		"insert into t values (20, ''); -- the end\x00; insert into t values (21, '')", "insert into t values (22, '' /* open", "insert into t values (23, 'open",
		"\uFEFFinsert into t values (24, ''); \uFEFFselect 1", "insert into t values (25, x'00'); pragma user_version = 3; insert into t values (26, '')",
		"with x as (select 27) insert into t select *, ';' from x; replace into t values (27, 'r')", "vacuum; analyze", "select a from t; insert into t values (28, '')",
		"", ";", "/* */", "--",
	}
	for _, query := range texts {
		if got, want := done(mine, query), done(plain, query); got != want {
			t.Errorf("%s:\n got %s\nwant %s", query, got, want)
		}
		for _, look := range []string{"select * from t", "select * from log", "select name from sqlite_schema where name not like 'sqlite_%'", "pragma user_version"} {
			if got, want := answer(mine, look), answer(plain, look); got != want {
				t.Errorf("after %s: %s:\n got %s\nwant %s", query, look, got, want)
			}
		}
	}
	args := "insert into t values (?1, ?2); insert into log values (?2), (?); update t set b = ?3 where a = ?1"
	for _, list := range [][]any{{100, "a", "b"}, {101, "a"}, {}} {
		got, gotErr := mine.Exec(args, list...)
		want, wantErr := plain.Exec(args, list...)
		if fmt.Sprint(gotErr) != fmt.Sprint(wantErr) && (wantErr == nil || gotErr == nil) {
			t.Errorf("%v: got %v, want %v", list, gotErr, wantErr)
		}
		if gotErr == nil && fmt.Sprint(affected(got)) != fmt.Sprint(affected(want)) {
			t.Errorf("%v: got %v, want %v", list, affected(got), affected(want))
		}
	}
}

// done is all that an Exec gives, but for where in the text SQLite stopped.
func done(db *sql.DB, query string) string {
	result, err := db.Exec(query)
	if err != nil {
		return "error: " + err.Error()
	}
	if !strings.Contains(query, "insert into t values (") { // it says what its connection has done before
		return "done"
	}
	return fmt.Sprint(affected(result))
}

func affected(r sql.Result) []int64 {
	n, _ := r.RowsAffected()
	id, _ := r.LastInsertId()
	return []int64{n, id}
}
