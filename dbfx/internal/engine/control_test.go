package engine

import (
	"errors"
	"strings"
	"testing"
)

// controlTexts say for each text whether it would begin or end a transaction, by
// the rules of PostgreSQL and of SQLite. The list runs against both databases in
// fxtest.
var controlTexts = []struct {
	text             string
	postgres, sqlite bool
}{
	{"select 1", false, false},
	{"select 1; commit; begin", true, true},
	{"select 1;rollback;begin", true, true},
	{"COMMIT", true, true},
	{"  -- x\n/* y */ Commit ;", true, true},
	{"-- x\rcommit", true, false},
	{"/* /* */ commit */ select 1", false, true},
	{"/* /* */ */ commit", true, false},
	{"select 1 */* x */ 2; commit", true, true},
	{"commit and chain", true, true},
	{"rollback and no chain", true, true},
	{"rollback to x", false, false},
	{"rollback to\nx", false, false},
	{"rollback\tTO\tx", false, false},
	{"rollback work to savepoint x", false, false},
	{"rollback transaction to savepoint x", false, false},
	{"rollback /* TO */; begin", true, true},
	{"rollback -- to x\n", true, true},
	{"savepoint a; rollback to a; release a", false, false},
	{"prepare transaction 'x'", true, true},
	{"prepare x as select 1", false, false},
	{"end", true, true},
	{"abort", true, true},
	{"start\ntransaction", true, true},
	{"select 'a;commit;'", false, false},
	{`select 'a\'; commit; begin; --'`, true, true},
	{`select E'a\'; commit; begin; --'`, false, true},
	{`select e'\\'; commit`, true, true},
	{"select E'a'\n'\\'; commit; --'", false, true},
	{"select E'a' -- x\r\n '\\'; commit; --'", false, true},
	{"select 'a'\n'\\'; commit; --'", true, true},
	{`select namee'\'; commit; --'`, true, true},
	{`select U&'\'; commit; --'`, true, true},
	{`select "a;commit;b", """;commit;"`, false, false},
	{"select $$;commit;$$", false, true},
	{"select $a$;commit;$$;$A$ $a$", false, true},
	{"select $1; commit", true, true},
	{"select a$$; commit; b$$", true, true},
	{"select 1$$; commit; $$", false, true},
	{"do $$ begin perform 1; end $$", false, true},
	{"create function f() returns int language sql begin atomic select 1; select 2; end; select 1", false, true},
	{"create or replace procedure f() language sql begin atomic select case when true then 1 end; end; commit", true, true},
	{"create view v as select begin atomic from t; commit", true, true},
	{"create function f(a text default (';commit')) returns begin begin atomic select 1; end", false, true},
	{"create rule r as on insert to t do also (delete from a; delete from b)", false, false},
	{"create trigger r after insert on t begin delete from a; select case when 1 then 2 end; end", true, false},
	{"create temp trigger if not exists begin after update of begin on t begin select 1; end; commit", true, true},
	{"select [a;commit;] , `;commit;`", true, false},
	{"select $a('); commit; begin; select $a(')", false, true},
	{"select :a::b(;commit;); select 1", false, false},
	{"\uFEFFcommit", false, true},
	{"", false, false},
	{";;(select 1)", false, false},
}

func TestCheckControl(t *testing.T) {
	t.Parallel()
	for _, tt := range controlTexts {
		for rules, want := range map[Rules]bool{PostgreSQL: tt.postgres, SQLite: tt.sqlite} {
			err := rules.CheckControl(tt.text)
			if (err != nil) != want || err != nil && !errors.Is(err, ErrControl) {
				t.Errorf("rules %d, %q: got %v, want refused %t", rules, tt.text, err, want)
			}
		}
	}
	if err := PostgreSQL.CheckControl("select 1;\n\n  select 2; -- x\n commit"); err == nil || !strings.HasPrefix(err.Error(), "COMMIT in line 4: ") {
		t.Errorf("got %v", err)
	}
	if PostgreSQLBackslash.CheckControl(`select 'a\'; commit; --'`) != nil ||
		PostgreSQLBackslash.CheckControl(`select b'\'; commit; --'`) == nil {
		t.Error("standard_conforming_strings=off is not kept")
	}
}

// FuzzCheckControl holds the scanner to what is true of every text: it ends, it
// goes forward, and what it takes for a whole text hides nothing that follows.
func FuzzCheckControl(f *testing.F) {
	for _, tt := range controlTexts {
		f.Add(tt.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, rules := range []Rules{SQLite, PostgreSQL, PostgreSQLBackslash} {
			l, c, at := NewLexer(rules, text), Control{}, 0
			for l.Next() {
				if l.start < at || l.end <= l.start || l.end > len(text) {
					t.Fatalf("rules %d, %q: a token from %d to %d after %d", rules, text, l.start, l.end, at)
				}
				at = l.end
				c.Token(l)
			}
			found := c.End(l) != nil
			if found != (rules.CheckControl(text+" ") != nil) && !strings.HasSuffix(text, `\`) {
				t.Errorf("rules %d, %q: a space behind it changes the answer", rules, text)
			}
			if found && rules.CheckControl("select 1;"+text) == nil {
				t.Errorf("rules %d, %q: a statement before it changes the answer", rules, text)
			}
			if c.parens > 0 || c.bodies > 0 {
				continue
			}
			// Either something is open at the end, which the database calls an error, or
			// the COMMIT is seen.
			tail := "\n;commit"
			if rules.CheckControl(text+tail) == nil && !open(rules, text) {
				t.Errorf("rules %d, %q hides a COMMIT behind it", rules, text)
			}
		}
	})
}

// open reports whether text ends inside a string, a quoted name or a comment.
func open(rules Rules, text string) bool {
	l := NewLexer(rules, text+"\n;commit")
	for l.Next() {
		if l.start < len(text) && l.end > len(text) {
			return true
		}
	}
	return l.start < len(text) || l.end < len(text)+len("\n;commit") // a comment took the rest
}
