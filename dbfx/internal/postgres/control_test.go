package postgres_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/sergas/dbkit/dbfx/internal/engine"
	"github.com/sergas/dbkit/fxtest"
)

// served runs text in a transaction of a real server. It returns whether the
// server ended that transaction or began one, and whether it ran the whole text.
func served(ctx context.Context, t *testing.T, conn *pgx.Conn, text string) (control, whole bool) {
	t.Helper()
	if _, err := conn.Exec(ctx, "begin; savepoint a"); err != nil {
		t.Fatal(err)
	}
	rollbacks := 0
	results := conn.PgConn().Exec(ctx, text)
	for results.NextResult() {
		tag, err := results.ResultReader().Close()
		if err != nil {
			continue
		}
		switch tag.String() {
		case "BEGIN", "START TRANSACTION", "COMMIT", "PREPARE TRANSACTION":
			control = true
		case "ROLLBACK":
			rollbacks++
		}
	}
	whole = results.Close() == nil
	// Every ROLLBACK TO of these tests goes back to a: what has ended the
	// transaction has lost it.
	if _, err := conn.Exec(ctx, "rollback to a"); err != nil && whole && rollbacks > 0 {
		control = true
	}
	if _, err := conn.Exec(ctx, "rollback"); err != nil {
		t.Fatal(err)
	}
	return control, whole
}

func connect(t *testing.T) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), fxtest.Postgres(t).URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	if _, err := conn.Exec(t.Context(), "create table t (a text, begin int); create table u (a text)"); err != nil {
		t.Fatal(err)
	}
	return conn
}

// TestControl_AgreesWithTheServer holds the scanner to what PostgreSQL does.
func TestControl_AgreesWithTheServer(t *testing.T) {
	t.Parallel()
	conn := connect(t)
	texts := []string{
		"select 1", "select 1; commit; begin", "select 1;rollback;begin", "COMMIT", "  -- x\n/* y */ Commit ;", "-- x\rcommit",
		"/* /* */ commit */ select 1", "/* /* */ */ commit", "select 1 */* x */ 2; commit", "select 1 +--x\n 2; commit",
		"commit and chain", "rollback and chain", "rollback and no chain", "end", "abort work", "start\ntransaction", "begin",
		"rollback to a", "rollback to\na", "rollback\tTO\ta", "rollback work to savepoint a", "rollback transaction to a",
		"rollback /* TO */; begin", "rollback -- to a\n", "savepoint a; rollback to a", "savepoint b; release b; commit",
		"prepare x1 as select 1", "select 'a;commit;'", `select 'a\'; commit; begin; --'`, `select E'a\'; commit; begin; --'`,
		`select e'\\'; commit`, "select E'a'\n'\\'; commit; --'", "select E'a' -- x\r\n '\\'; commit; --'", "select E'a' '\\'; commit; --'",
		"select 'a'\n'\\'; commit; --'", `select text'\'; commit; --'`, `select U&'x'; commit; --'`, `select N'\'; commit; --'`,
		`select 1 as "a;commit;b", 2 as """;commit;"`, `select U&"a" from (select 1 as a) x; commit`, "select $$;commit;$$",
		"select $a$;commit;$$;$A$ $a$", "select $a$$a$;commit;$$ $$", "select $$a$b$$;commit", "select $é$;commit;$é$", "select 1 as a$$; commit; select 1 as b$$",
		"do $$ begin perform 1; end $$", "do $$ begin perform 1; commit; end $$", "do language plpgsql 'begin perform 1; end'",
		"create function f1() returns int language sql begin atomic select 1; select 2; end; select 1",
		"create function f2() returns int language sql begin atomic select 1; select 2; end; commit",
		"create or replace procedure f3() language sql begin atomic insert into u values (case when true then '1' end); end; commit",
		"create function f4(a text default (';commit')) returns int language sql begin atomic select 1; end",
		"create function f5() returns int language sql return 1; commit", "create view v1 as select begin atomic from t; commit",
		"create function f6() returns int language sql as 'select 1; select 2'; select 1",
		"create rule r1 as on insert to t do also (delete from u; delete from u)", "create rule r2 as on insert to t do also (delete from u); commit",
		"select b'01'; commit", "select x'1f'\n'; commit; '", "", ";;", ";;(select 1)", ";;commit", "select 1;\v commit", "\uFEFFcommit",
		"select '\\\\'; commit", "select $1; commit", "explain select 1; commit", "select 1 as commit; select 2 as rollback",
		"lock table t; set local work_mem = '4MB'; commit", "declare c cursor for select 1; fetch c; close c", "set transaction read only",
	}
	whole := 0
	for _, text := range texts {
		control, all := served(t.Context(), t, conn, text)
		found := engine.PostgreSQL.CheckControl(text) != nil
		if control && !found {
			t.Errorf("%q ends the transaction and is let through", text)
		}
		if all {
			whole++
			if found && !control {
				t.Errorf("%q is legal and refused", text)
			}
		}
	}
	if whole < 40 {
		t.Errorf("the server ran only %d of %d texts", whole, len(texts))
	}
}

// TestControl_AgreesWithTheServerOnGeneratedTexts builds texts of literals and
// comments full of what could end them.
func TestControl_AgreesWithTheServerOnGeneratedTexts(t *testing.T) {
	t.Parallel()
	conn := connect(t)
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	whole, controls := 0, 0
	for i := range 3000 {
		conforming := i%4 != 0
		rules := engine.PostgreSQL
		if !conforming {
			rules = engine.PostgreSQLBackslash
		}
		if i%4 < 2 {
			if _, err := conn.Exec(t.Context(), fmt.Sprintf("set standard_conforming_strings = %t", conforming)); err != nil {
				t.Fatal(err)
			}
		}
		text := generate(random)
		control, all := served(t.Context(), t, conn, text)
		found := rules.CheckControl(text) != nil
		if control && !found || all && found && !control {
			t.Errorf("seed %d, conforming %t, %q: the server ended the transaction %t, the scanner says %t", seed, conforming, text, control, found)
		}
		if all {
			whole++
		}
		if control {
			controls++
		}
	}
	if whole < 300 || controls < 100 {
		t.Errorf("of 3000 texts the server ran %d, and %d ended the transaction: the generator is worthless", whole, controls)
	}
}

var nasty = []string{
	"'", "''", `\`, `\'`, `\\`, `"`, "$", "$$", "$a$", ";", "commit", ";commit;", "--", "/*", "*/", "\n", "\r", " ", "a", "E'", "'\n'", "é", "(", ")", "1",
}

func generate(random *rand.Rand) string {
	pick := func(from ...string) string { return from[random.IntN(len(from))] }
	content := func() string {
		var b strings.Builder
		for range random.IntN(5) {
			b.WriteString(pick(nasty...))
		}
		return b.String()
	}
	literal := func() string {
		switch random.IntN(8) {
		case 0:
			return "'" + content() + "'"
		case 1:
			return pick("E'", "e'") + content() + "'"
		case 2:
			return `1 as "` + content() + `"`
		case 3:
			return "$$" + content() + "$$"
		case 4:
			return "$a$" + content() + "$a$"
		case 5:
			return pick("U&'", "N'", "text '") + content() + "'"
		case 6:
			return "1 /*" + content() + "*/"
		}
		return "1 --" + content() + pick("\n", "\r")
	}
	var b strings.Builder
	for range 1 + random.IntN(3) {
		b.WriteString(pick("select ", "select ", "select/**/", "select--\r") + literal())
		b.WriteString(pick("", "", "\n'"+content()+"'", " ", pick(nasty...)))
		b.WriteString(pick(";", ";", ";", "; commit; begin;", "; rollback to a;", ";rollback/* to */;begin;", "; commit--\r;"))
	}
	return b.String()
}
