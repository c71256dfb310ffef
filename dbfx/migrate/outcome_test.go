package migrate_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/dbfx/migrate"
	"github.com/sergas/dbkit/fxtest"
)

// TestPostgres_ALostCommitIsFoundOut: the next try finds what became of it, so the
// migration is committed once, and is told as this process's.
func TestPostgres_ALostCommitIsFoundOut(t *testing.T) {
	t.Parallel()
	for name, when := range map[string]fxtest.Moment{"Before": fxtest.BeforeCommit, "After": fxtest.AfterCommit} {
		for _, of := range []string{"insert into t", "create table if not exists"} {
			t.Run(name+" "+of, func(t *testing.T) {
				t.Parallel()
				cfg, link := fxtest.Proxy(t, fxtest.Postgres(t))
				db := open(t, cfg)
				link.CutAtCommit(when, of)
				done := db.up(t, files("00001_t.sql", "create table t (n integer);", "00002_i.sql", "insert into t values (1);"))
				if len(done) != 2 || link.Cuts() != 1 {
					t.Errorf("did %+v, with %d cuts", done, link.Cuts())
				}
				if n := db.count(t, "select count(*) from t"); n != 1 {
					t.Errorf("%d rows, want 1", n)
				}
				if db.logs.FilterMessageSnippet("migrated by another").Len() != 0 || db.logs.FilterMessageSnippet("lost the answer to its COMMIT").Len() != 1 {
					t.Error("the log does not tell what happened")
				}
			})
		}
	}
}

func TestPostgres_ABaselineWhoseCommitWasLostIsThere(t *testing.T) {
	t.Parallel()
	cfg, link := fxtest.Proxy(t, fxtest.Postgres(t))
	db := open(t, cfg)
	link.CutAtCommit(fxtest.AfterCommit)
	m := db.migrator(t, files("00001_t.sql", "create table t (n integer);"))
	if err := m.Baseline(t.Context(), 1); err != nil || link.Cuts() != 1 {
		t.Errorf("got %v after %d cuts", err, link.Cuts())
	}
	if err := m.Baseline(t.Context(), 1); err == nil {
		t.Error("a second baseline was taken")
	} else {
		contains(t, err.Error(), "dbfx: migrate: the database is at version 1")
	}
}

// TestPostgres_ACommitThatTakesTooLongEndsTheRun: trying again would last as long.
func TestPostgres_ACommitThatTakesTooLongEndsTheRun(t *testing.T) {
	t.Parallel()
	cfg := fxtest.Postgres(t)
	cfg.CommitTimeout = 100 * time.Millisecond
	db := open(t, cfg)
	_, err := db.migrator(t, files("00001_t.sql", `create table t (n integer);
-- +goose StatementBegin
create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep(600); return null; end $$;
-- +goose StatementEnd
create constraint trigger s after insert on t deferrable initially deferred for each row execute function slow();
insert into t values (1);
`)).Up(t.Context())
	if !errors.Is(err, dbfx.ErrCommitUnknown) {
		t.Fatalf("got %v", err)
	}
	contains(t, err.Error(), "00001_t.sql", "COMMIT_TIMEOUT")
}

// TestUp_WhatHasRunWithoutATransactionIsWrittenDown: also when the context ends
// after the last statement.
func TestUp_WhatHasRunWithoutATransactionIsWrittenDown(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		db := open(t, cfg)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		g := migrate.Go{Version: 2, UpDB: func(context.Context, *sql.DB) error {
			cancel()
			return nil
		}}
		m := db.migrator(t, files("00001_t.sql", "create table t (n integer);"), migrate.WithGo(g))
		done, _ := m.Up(ctx)
		if s, err := m.Status(t.Context()); err != nil || s.Version != 2 || len(done) != 2 {
			t.Errorf("at version %d, %v; told %+v", s.Version, err, done)
		}
	})
}

func TestGo_AnErrorOfAnotherServiceIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		db := open(t, cfg)
		tries := 0
		g := migrate.Go{Version: 2, Up: func(ctx context.Context, _ *sql.Tx) error {
			tries++
			return fmt.Errorf("ask the other service: %w", os.ErrDeadlineExceeded) // a net.Error
		}}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		_, err := db.migrator(t, files("00001_t.sql", "create table t (n integer);"), migrate.WithGo(g)).Up(ctx)
		if !errors.Is(err, os.ErrDeadlineExceeded) || tries != 1 {
			t.Errorf("got %v after %d tries", err, tries)
		}
	})
}

// TestPostgres_WhatTheServerCannotReadIsNotTriedAgain: a NUL ends the message.
func TestPostgres_WhatTheServerCannotReadIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	db := open(t, fxtest.Postgres(t))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err := db.migrator(t, files("00001_t.sql", "create table t (n text);\ninsert into t values ('a\x00b');")).Up(ctx)
	if err == nil || ctx.Err() != nil {
		t.Fatalf("got %v", err)
	}
	contains(t, err.Error(), "00001_t.sql:3", "08P01")
}

// TestUp_RunsTheTextThatItHasRead: the file may be changed between the two.
func TestUp_RunsTheTextThatItHasRead(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "00001_t.sql")
	write := func(text string) {
		if err := os.WriteFile(path, []byte("-- +goose Up\n"+text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("create table t (n integer);\n")
	db := open(t, fxtest.SQLite(t))
	m := db.migrator(t, os.DirFS(filepath.Dir(path)))
	if _, err := m.Plan(t.Context()); err != nil {
		t.Fatal(err)
	}
	write("create table u (n integer);\ncreate table t (n integer, m integer);\n")
	if _, err := m.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := db.count(t, "select count(*) from pragma_table_info('t')"); n != 1 {
		t.Errorf("%d columns: it ran what it had not read", n)
	}
	s, err := db.migrator(t, os.DirFS(filepath.Dir(path))).Status(t.Context())
	if err != nil || !s.Migrations[0].Changed {
		t.Errorf("the change is not seen: %+v, %v", s, err)
	}
}

// TestSQLite_WhatHasRunWithoutATransactionRunsOnce: also where another process
// writes when the version is to be written.
func TestSQLite_WhatHasRunWithoutATransactionRunsOnce(t *testing.T) {
	t.Parallel()
	cfg := fxtest.SQLite(t)
	cfg.SQLiteBusyTimeout = 20 * time.Millisecond
	holder, db := open(t, cfg), open(t, cfg)
	var tx *sql.Tx
	ran := make(chan int, 10)
	g := migrate.Go{Version: 2, UpDB: func(ctx context.Context, _ *sql.DB) (err error) {
		ran <- 1
		if tx == nil {
			if tx, err = holder.DB().BeginTx(context.WithoutCancel(ctx), nil); err == nil {
				_, err = tx.Exec("insert into t values (1)")
			}
		}
		return err
	}}
	result := make(chan error, 1)
	go func() {
		m, err := migrate.New(db.Database, files("00001_t.sql", "create table t (n integer);"), migrate.WithGo(g))
		if err == nil {
			_, err = m.Up(t.Context())
		}
		result <- err
	}()
	waitFor(t, func() bool { return db.logs.FilterMessageSnippet("tried again").Len() >= 2 })
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := <-result; err != nil {
		t.Fatal(err)
	}
	if n := len(ran); n != 1 {
		t.Errorf("it ran %d times", n)
	}
}
