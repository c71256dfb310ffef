package fxtest

import "testing"

func TestWire_KnowsWhatEndsATransaction(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"commit":                                "commits",
		" Commit ;":                             "commits",
		"commit;insert into t values (1)":       "commits",
		"insert into t values (1); end":         "commits",
		"/* trace /* id */ */ commit -- x":      "commits",
		"-- x\ncommit":                          "commits",
		"select $1;commit":                      "commits",
		"select 1 as a$b; commit":               "commits",
		"select $x$;commit$x$;\ncommit":         "commits",
		"select 'it''s';commit":                 "commits",
		"rollback":                              "ends",
		"ROLLBACK WORK":                         "ends",
		"abort;":                                "ends",
		"rollback to a":                         "",
		"rollback to savepoint a":               "",
		"Rollback Transaction To Savepoint a":   "",
		"release a":                             "",
		"":                                      "",
		";;":                                    "",
		"select ';commit'":                      "",
		"select ';commit":                       "",
		"select ''';commit;'":                   "",
		`select E'\';commit;'`:                  "",
		`select ";commit" from t`:               "",
		"select 1 -- ;commit":                   "",
		"select 1 /* ;commit; */":               "",
		"select 1 /* ;commit":                   "",
		"do $$ begin insert into t; end $$":     "",
		"do $a$ begin x := $$;end$$; end $a$":   "",
		"create table committed (end_ integer)": "",
		"insert into t values ($1, 'x;end ')":   "",
		"create function f() returns integer language sql begin atomic select 1; end": "",
	} {
		got := ""
		switch commits, ends := endsIn(text); {
		case commits:
			got = "commits"
		case ends:
			got = "ends"
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
