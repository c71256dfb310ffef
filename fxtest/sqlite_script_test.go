package fxtest_test

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"modernc.org/sqlite"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

// looker is another process that looks at a SQLite file: whenever it is told a
// number it opens the file, counts marks and the rows of that generation, and
// closes it.
type looker struct {
	t   *testing.T
	in  io.Writer
	out *bufio.Scanner
}

func newLooker(t *testing.T, path string) *looker {
	t.Helper()
	cmd := child(t, "FXTEST_PATH="+path)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_, _ = io.Copy(io.Discard, out)
		_ = cmd.Wait()
	})
	return &looker{t, in, bufio.NewScanner(out)}
}

func (l *looker) look(generation int) (marks, rows int) {
	l.t.Helper()
	if _, err := fmt.Fprintln(l.in, generation); err != nil {
		l.t.Fatal(err)
	}
	for l.out.Scan() {
		if n, _ := fmt.Sscanf(l.out.Text(), "saw %d %d", &marks, &rows); n == 2 {
			return marks, rows
		}
	}
	l.t.Fatal("the other process has ended")
	return 0, 0
}

// look is the looker's part.
func look(t *testing.T) {
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		db, err := sql.Open("sqlite", os.Getenv("FXTEST_PATH"))
		if err != nil {
			t.Fatal(err)
		}
		var marks, rows int
		var check string
		err = db.QueryRowContext(t.Context(), "select (select count(*) from marks), (select count(*) from d where generation = $1), (select * from pragma_integrity_check)",
			in.Text()).Scan(&marks, &rows, &check)
		if err != nil || check != "ok" {
			t.Fatal(check, err)
		}
		_ = db.Close()
		fmt.Printf("\nsaw %d %d\n", marks, rows)
	}
}

const dumpRows = 600

// dump is a script as sqlite3's .dump writes it. Its row number bad violates the
// key.
func dump(generation, bad int) string {
	var b strings.Builder
	b.WriteString("PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\nCREATE TABLE IF NOT EXISTS d (a INTEGER, generation INTEGER, primary key (generation, a));\n")
	for i := range dumpRows {
		if i == bad {
			i--
		}
		fmt.Fprintf(&b, "INSERT INTO d VALUES(%d,%d);\n", i, generation)
	}
	b.WriteString("COMMIT;\n")
	return b.String()
}

// TestSQLite_ADumpIsThereOrNotAsItWasReported: a dump is cut at many moments, and
// bare writes follow. Another process sees what was acknowledged and nothing else.
func TestSQLite_ADumpIsThereOrNotAsItWasReported(t *testing.T) {
	if childPart() {
		look(t)
		return
	}
	t.Parallel()
	app := fxtest.New(t)
	for _, text := range []string{"create table marks (a integer)", dump(0, -1)} {
		if _, err := app.DB.ExecContext(t.Context(), text); err != nil {
			t.Fatal(err)
		}
	}
	other := newLooker(t, app.Config.SQLitePath)
	start := time.Now()
	if _, err := app.DB.ExecContext(t.Context(), dump(1, -1)); err != nil {
		t.Fatal(err)
	}
	took := time.Since(start)

	generation, marks, whole := 1, 0, 0
	check := func(what string, err error) {
		t.Helper()
		for range 3 {
			if _, err := app.DB.ExecContext(t.Context(), "insert into marks values (1)"); err != nil {
				t.Fatal(err)
			}
			marks++
		}
		want := 0
		if err == nil {
			want, whole = dumpRows, whole+1
		}
		if gotMarks, got := other.look(generation); gotMarks != marks || got != want {
			t.Errorf("%s, which ended with %v: another process sees %d of %d acknowledged rows and %d rows of the dump, want %d",
				what, err, gotMarks, marks, got, want)
		}
	}
	for i := range 20 { // wherever that is
		generation++
		ctx, cancel := context.WithTimeout(t.Context(), took*time.Duration(i)/18)
		_, err := app.DB.ExecContext(ctx, dump(generation, -1))
		cancel()
		check(fmt.Sprintf("cut after %d/18 of its time", i), err)
	}
	for i := range 20 { // at a row, and at last in COMMIT
		generation++
		_, err := cutAt(t, app, dump(generation, -1), i*dumpRows/19)
		check(fmt.Sprintf("cut at row %d", i*dumpRows/19), err)
	}
	for _, bad := range []int{1, dumpRows / 2, dumpRows - 1} {
		generation++
		_, err := app.DB.ExecContext(t.Context(), dump(generation, bad))
		if !dbfx.IsUniqueViolation(err) {
			t.Errorf("got %v", err)
		}
		check(fmt.Sprintf("row %d is bad", bad), err)
	}
	if generation++; generation < 40 || whole == 0 {
		t.Errorf("%d generations, %d of them whole", generation, whole)
	}
	_, err := app.DB.ExecContext(t.Context(), dump(generation, -1))
	check("uncut", err)
}

// cutAt runs a text whose context ends while it inserts its row number n, or in its
// COMMIT where there are not so many.
func cutAt(t *testing.T, app *fxtest.App, text string, n int) (sql.Result, error) {
	t.Helper()
	conn, err := app.DB.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err = conn.Raw(func(c any) error {
		hooks := c.(sqlite.HookRegisterer)
		end := func() {
			cancel()
			time.Sleep(3 * time.Millisecond) // what watches the context acts now
		}
		hooks.RegisterCommitHook(func() int32 { end(); return 0 })
		hooks.RegisterPreUpdateHook(func(sqlite.SQLitePreUpdateData) {
			if n--; n == 0 {
				end()
			}
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return conn.ExecContext(ctx, text)
}

// TestSQLite_WhatHasCommittedIsNotCalledCancelled: the context ends in COMMIT.
func TestSQLite_WhatHasCommittedIsNotCalledCancelled(t *testing.T) {
	t.Parallel()
	app := fxtest.New(t)
	if _, err := app.DB.ExecContext(t.Context(), "create table kv (k text, v integer)"); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		"insert into kv values ('a', 1)", "insert into kv values ('a', 1) returning k", "begin; insert into kv values ('a', 1); commit",
		"pragma foreign_keys = off; begin; insert into kv values ('a', 1); end -- of it",
	} {
		for range 5 {
			result, err := cutAt(t, app, text, 0)
			if err != nil {
				t.Errorf("%s: got %v, and %d rows are there", text, err, count(t, app, "a"))
			} else if n, err := result.RowsAffected(); n != 1 || err != nil {
				t.Errorf("%s: %d rows affected, %v", text, n, err)
			}
			wantCount(t, app, "a", 1)
			if _, err := app.DB.ExecContext(t.Context(), "delete from kv"); err != nil {
				t.Fatal(err)
			}
		}
	}
}
