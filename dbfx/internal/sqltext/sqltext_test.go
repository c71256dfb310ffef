package sqltext

import (
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestShape(t *testing.T) {
	t.Parallel()
	tests := []struct{ give, want string }{
		{"select 1", "select ?"},
		{"SELECT  *\n FROM t -- why\n WHERE a='it''s' and b = E'\\'x' and c=$1", "SELECT * FROM t WHERE a = ? and b = ? and c = ?"},
		{"insert into kv (k, v) values ($1, $2), ($3, $4)", "insert into kv(k, v) values (?, ...), (?, ...)"},
		{"select * from t where id in (1,2, 3)", "select * from t where id in (?, ...)"},
		{"select count(*) from t where x >= 1.5e-3 and y <> 0xFF", "select count(*) from t where x >= ? and y <> ?"},
		{"create role r password 'hunter2'", "create role r password ?"},
		{"select $tag$ hunter2 ' $tag$ || $$x$$, U&'x' , X'ff'", "select ? || ?, ..."},
		{"select a::text, b[1], \"odd \"\"name\" from s.t; ", `select a::text, b[?], "odd ""name" from s.t`},
		{"select 'hunter2 without an end", "select ?"},
		{"/* a /* b */ c */ select /*x*/ :name, @p, ?1", "select ?, ..."},
		{"select a, 1, b from t", "select a, ?, b from t"},
		{"", ""},
	}
	for _, tt := range tests {
		if got := Shape(tt.give); got != tt.want {
			t.Errorf("%s\n got %s\nwant %s", tt.give, got, tt.want)
		}
	}
}

func TestSummary(t *testing.T) {
	t.Parallel()
	tests := []struct{ give, want string }{
		{"-- name: ListTokens :many\nselect 1", "ListTokens"},
		{"/* name: GetOne :one */ select 1", "GetOne"},
		{"-- not a name: x\nselect * from tokens t where x = 1", "SELECT tokens"},
		{"insert or replace into \"Odd Name\" values (1)", "INSERT Odd Name"},
		{"update s.t set a = 1", "UPDATE s.t"},
		{"delete from only t", "DELETE t"},
		{"with a as (select * from inner_table) insert into target select * from a", "INSERT target"},
		{"with recursive a as (select 1) select * from a", "SELECT a"},
		{"select 1", "SELECT"},
		{"select * from (select * from deep) x join other o on true", "SELECT other"},
		{"create table if not exists notes (text text)", "CREATE notes"},
		{"create unique index concurrently i on t (x)", "CREATE i"},
		{"truncate table t", "TRUNCATE t"},
		{"COMMIT", "COMMIT"},
		{"savepoint dbfx_1", "SAVEPOINT dbfx_1"},
		{"set local statement_timeout = 5", "SET"},
		{"select 1; drop table t", "SELECT"},
		{"", ""},
	}
	for _, tt := range tests {
		if got := Summary(tt.give); got != tt.want {
			t.Errorf("%s\n got %q\nwant %q", tt.give, got, tt.want)
		}
	}
}

func TestCache_AnswersAlikeWhenItIsFull(t *testing.T) {
	t.Parallel()
	c := Cache[string]{Of: Shape}
	for range 2 {
		for i := range 3 * cacheTexts {
			sql := "select x" + strings.Repeat("y", i) + " from t where a = 1"
			if got := c.Get(sql); got != Shape(sql) {
				t.Fatalf("got %q", got)
			}
		}
	}
	if n := len(c.young) + len(c.old); n > 2*cacheTexts {
		t.Errorf("%d texts are kept, want at most %d", n, 2*cacheTexts)
	}
}

// TestCache_KeepsWhatComesAgain: texts that a program makes up must not push out
// those that it repeats.
func TestCache_KeepsWhatComesAgain(t *testing.T) {
	t.Parallel()
	asked := 0
	c := Cache[string]{Of: func(sql string) string {
		if sql == "again" {
			asked++
		}
		return sql
	}}
	for i := range 20 * cacheTexts {
		c.Get(strconv.Itoa(i))
		c.Get("again")
	}
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
}

// FuzzShape: no value comes through, and nothing panics.
func FuzzShape(f *testing.F) {
	for _, seed := range []string{"a", "it's", "$1", "/*", "--", "\\", "$x$", "\"", "E", "'", "1e", "::", "é"} {
		f.Add(seed, seed)
	}
	f.Fuzz(func(t *testing.T, around, value string) {
		if !utf8.ValidString(around) || !utf8.ValidString(value) {
			return
		}
		_, _ = Summary(around), Shape(around)
		secret := "s3cr3t" + strings.ReplaceAll(value, "'", "''")
		for _, sql := range []string{"select * from t where a = '" + secret + "'", "select '" + secret + "' || x"} {
			if got := Shape(sql); strings.Contains(got, "s3cr3t") {
				t.Errorf("%q shows a value: %q", sql, got)
			}
		}
	})
}
