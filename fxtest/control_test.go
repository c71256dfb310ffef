package fxtest_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

// endings are texts that end the session's transaction, or would if the database
// read them otherwise. Some are errors on one engine.
var endings = []string{
	"commit", "COMMIT;", "end", "rollback", "abort", "commit and chain", "rollback and chain", "rollback transaction",
	"select 1; commit; begin", "select 1; rollback; begin", "select 1; commit and chain", "select 1;end;start transaction",
	"select 1; rollback; begin; insert into kv values ('inner', 1)", "insert into kv values ('inner', 1); commit; begin",
	"insert into kv values ('inner', 1); commit", "insert into kv values ('inner', 1); commit; select * from nowhere",
	"/* /* */ */ commit", "/* /* x */ select 1 */ select 1; commit; begin", "-- x\rcommit", "select 1 --\r; commit; begin",
	"-- x\ncommit; begin", "rollback /* TO */; begin", "rollback -- to x\n; begin", "select 1; rollback\tand\tchain",
	`select 'a\'; commit; begin; select '\'`, "select 'a''b'; commit; begin", `select "k;" from kv; commit; begin`, "select $a$ $a$; commit; begin",
	"select E'\\''; commit; begin", "select E'a'\n'\\''; commit; begin", "savepoint a; release a; commit; begin", "begin; commit; begin",
	"select $a('); commit; begin; select $a(')", "select `;`; commit; begin", ";;commit;begin", "prepare transaction 'x'", "savepoint a; rollback to a; rollback; begin",
}

// TestRun_SaysWhatATextThatEndsTheTransactionLeft: nil means that all is there,
// and an error other than ErrCommitUnknown that nothing is.
func TestRun_SaysWhatATextThatEndsTheTransactionLeft(t *testing.T) {
	eachApp(t, func(t *testing.T, app *fxtest.App) {
		paths := map[string]func(ctx context.Context, tx *dbfx.Session, text string) error{
			"Session": func(ctx context.Context, tx *dbfx.Session, text string) error {
				_, err := tx.ExecContext(ctx, text)
				return err
			},
			"SQLTx": func(ctx context.Context, tx *dbfx.Session, text string) error {
				_, err := tx.SQLTx().ExecContext(ctx, text)
				return err
			},
			"Query": func(ctx context.Context, tx *dbfx.Session, text string) error {
				rows, err := tx.QueryContext(ctx, text)
				if err != nil {
					return err
				}
				for rows.Next() {
					continue
				}
				return errors.Join(rows.Err(), rows.Close())
			},
			"Prepared": func(ctx context.Context, tx *dbfx.Session, text string) error {
				stmt, err := tx.PrepareContext(ctx, text)
				if err != nil {
					return err
				}
				_, err = stmt.ExecContext(ctx)
				return err
			},
		}
		for path, run := range paths {
			for i, text := range endings {
				for _, fnErr := range []error{nil, errBoom} {
					key := fmt.Sprintf("%s %d %v", path, i, fnErr)
					err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
						if err := put(ctx, tx, key+" before", 1); err != nil {
							return err
						}
						_ = run(ctx, tx, text)
						_ = put(ctx, tx, key+" after", 1)
						return fnErr
					})
					got := count(t, app, key+" %") + count(t, app, "inner")
					if err == nil && got < 2 || err != nil && !errors.Is(err, dbfx.ErrCommitUnknown) && got > 0 {
						t.Errorf("%s, %q, fn returns %v: Run says %v with %d rows there", path, text, fnErr, err, got)
					}
					if errors.Is(err, dbfx.ErrCommitUnknown) {
						t.Errorf("%s, %q, fn returns %v: nothing was sent and Run says %v", path, text, fnErr, err)
					}
				}
			}
		}
		wantIdle(t, app)
	})
}

// TestRun_LetsLegalTextsPass: what only looks like an end of the transaction runs.
func TestRun_LetsLegalTextsPass(t *testing.T) {
	eachApp(t, func(t *testing.T, app *fxtest.App) {
		texts := []string{
			"select ';commit;'", `select ';' as "commit;begin"`, "select 1 as \"commit\"; select 2; -- commit\n", "/* commit; */ select 1",
			"savepoint a; rollback to a; release a", "savepoint a; rollback to\na", "savepoint a; rollback\tto\ta", "savepoint a; rollback transaction to savepoint a",
			"insert into kv values ('x1', 1); insert into kv values ('x2', 1)", ";;select 1;;", "", "-- only a comment",
		}
		if app.Config.Dialect() == dbfx.Postgres {
			texts = append(texts,
				"do $$ begin perform 1; end $$", "do 'begin perform 1; end'", "select E'\\'; commit; --'", "select E'a'\n'\\'; commit; --'",
				"select $x$; commit; $$ ; $x$", "/* /* */ commit; */ select 1", "set local work_mem = '5MB'",
				"create function f() returns int language sql begin atomic select 1; select case when true then 2 end; end; select f()",
				"create procedure p() language sql begin atomic insert into kv values ('p', 1); end; call p()",
				"create rule r as on delete to kv do also (select 1; select 2)", "prepare p1 as select 1; execute p1; deallocate p1",
			)
		} else {
			texts = append(texts,
				"create temp trigger tr after insert on kv begin select 1; select case when 1 then 2 end; end; select 1", "select [k;commit;] from (select 1 as \"k;commit;\")",
				"select `k;commit` from (select 1 as \"k;commit\")",
			)
		}
		for i, text := range texts {
			key := fmt.Sprintf("legal %d", i)
			err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
				if err := put(ctx, tx, key, 1); err != nil {
					return err
				}
				if _, err := tx.ExecContext(ctx, text); err != nil {
					return err
				}
				return put(ctx, tx, key+"b", 1)
			})
			if err != nil {
				t.Errorf("%q: got %v", text, err)
			}
			wantCount(t, app, key+"%", 2)
			if t.Failed() {
				return
			}
			_, _ = app.DB.ExecContext(t.Context(), "delete from kv")
		}
	})
}

// TestSchema_RefusesAFileThatEndsItsTransaction: by name and line, before a file
// has run.
func TestSchema_RefusesAFileThatEndsItsTransaction(t *testing.T) {
	eachApp(t, func(t *testing.T, app *fxtest.App) {
		dump := "-- a dump\nBEGIN;\ncreate table two (id integer);\nCOMMIT;\nselect * from nowhere;\n"
		err := app.Schema.Init(t.Context(), fstest.MapFS{
			"1.sql":        {Data: []byte("create table one (id integer)")},
			"2/dump.sql":   {Data: []byte(dump)},
			"3/other.sql":  {Data: []byte("create table three (id integer); rollback")},
			"4/notsql.txt": {Data: []byte("commit")},
		})
		for _, want := range []string{"2/dump.sql: BEGIN in line 2", "3/other.sql: ROLLBACK in line 1"} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %q in it", err, want)
			}
		}
		for _, table := range []string{"one", "two", "three"} {
			if _, err := app.DB.ExecContext(t.Context(), "select * from "+table); err == nil {
				t.Errorf("table %s was made", table)
			}
		}
	})
}
