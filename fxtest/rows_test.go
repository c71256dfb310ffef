package fxtest_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

// TestPostgres_OpenRowsAreSaidToBeOpen and not a lost connection, which would
// repeat fn.
func TestPostgres_OpenRowsAreSaidToBeOpen(t *testing.T) {
	t.Parallel()
	app := postgres(t)
	attempts := 0
	err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
		attempts++
		prepared, err := tx.PrepareContext(ctx, "select 1")
		if err != nil {
			return err
		}
		rows, err := tx.QueryContext(ctx, "select generate_series(1, 10)")
		if err != nil {
			return err
		}
		defer func() { _ = rows.Close() }()
		rows.Next()
		for _, err := range []error{
			prepared.QueryRowContext(ctx).Scan(new(int)),
			put(ctx, tx, "a", 1), tx.QueryRowContext(ctx, "select 1").Scan(new(int)),
			app.Sessions.Run(ctx, func(context.Context, *dbfx.Session) error { return nil }),
		} {
			if err == nil || !strings.Contains(err.Error(), "rows of an earlier query are open") {
				t.Errorf("got %v", err)
			}
		}
		if err := rows.Close(); err != nil {
			return err
		}
		return put(ctx, tx, "b", 1)
	}, dbfx.Retry(dbfx.RetryPolicy{}), dbfx.Idempotent())
	if err != nil || attempts != 1 {
		t.Errorf("got %v after %d attempts", err, attempts)
	}
	wantCount(t, app, "%", 1)
}

// TestRun_RowsLeftOpenByANestedScopeDoNotDoomTheOuterOne: they end before the
// savepoint does.
func TestRun_RowsLeftOpenByANestedScopeDoNotDoomTheOuterOne(t *testing.T) {
	eachApp(t, func(t *testing.T, app *fxtest.App) {
		s := app.Sessions
		for _, text := range []string{"s", "s"} {
			if _, err := app.DB.ExecContext(t.Context(), "insert into kv values ($1 || (select count(*) from kv), 1)", text); err != nil {
				t.Fatal(err)
			}
		}
		for name, open := range map[string]func(ctx context.Context, tx *dbfx.Session) error{
			"Session": func(ctx context.Context, tx *dbfx.Session) error {
				rows, err := tx.QueryContext(ctx, "select k from kv")
				if err == nil {
					rows.Next()
				}
				return err
			},
			"SQLTx": func(ctx context.Context, tx *dbfx.Session) error {
				rows, err := tx.SQLTx().QueryContext(ctx, "select k from kv")
				if err == nil {
					rows.Next()
				}
				return err
			},
		} {
			for _, fnErr := range []error{nil, errBoom} {
				for _, join := range []bool{false, true} {
					opt := dbfx.Name("savepoint")
					if join {
						opt = dbfx.Join()
					}
					err := s.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
						err := s.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
							return errors.Join(open(ctx, tx), fnErr)
						}, opt)
						if !errors.Is(err, fnErr) {
							t.Errorf("%s, %v: nested: got %v", name, fnErr, err)
						}
						if err := put(ctx, tx, "outer", 1); err != nil {
							return err
						}
						_, err = tx.ExecContext(ctx, "delete from kv where k = 'outer'")
						return err
					})
					if (err != nil) != (join && fnErr != nil) { // what is joined is a part of it
						t.Errorf("%s, %v, join %t: got %v", name, fnErr, join, err)
					}
				}
			}
		}
		wantIdle(t, app)
	})
}

// TestPostgres_AChangedTableIsPlannedAnew: a plan that another session's DDL has
// made useless costs a retry at most, on every connection of the pool.
func TestPostgres_AChangedTableIsPlannedAnew(t *testing.T) {
	t.Parallel()
	app := postgres(t, func(c *dbfx.Config) { c.PoolSize, c.MaxOverflow = 3, 0 })
	read := func(ctx context.Context, db dbfx.DBTX) error {
		rows, err := db.QueryContext(ctx, "select * from kv where v > $1", 0)
		if err != nil {
			return err
		}
		return rows.Close()
	}
	stmt, err := app.DB.PrepareContext(t.Context(), "select * from kv")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stmt.Close() }()
	plan := func() { // on every connection
		t.Helper()
		release := make(chan struct{})
		ready, done := make(chan error), make(chan error)
		for range 3 {
			go func() {
				done <- app.Sessions.View(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
					ready <- read(ctx, tx)
					<-release
					return nil
				})
			}()
		}
		for range 3 {
			if err := <-ready; err != nil {
				t.Error(err)
			}
		}
		close(release)
		for range 3 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}
	change := func(column string) {
		t.Helper()
		if _, err := app.DB.ExecContext(t.Context(), "alter table kv add column "+column+" integer"); err != nil {
			t.Fatal(err)
		}
	}
	plan()
	change("c1")
	for range 4 {
		if err := read(t.Context(), app.DB); err != nil {
			t.Error("bare:", err)
		}
	}
	plan()
	change("c2")
	attempts := 0
	err = app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
		attempts++
		return read(ctx, tx)
	}, dbfx.Retry(dbfx.RetryPolicy{MaxAttempts: 2}))
	if err != nil || attempts != 2 {
		t.Errorf("a session: got %v after %d attempts, want nil after 2", err, attempts)
	}
	if rows, err := stmt.QueryContext(t.Context()); err != nil {
		t.Error("prepared:", err)
	} else {
		_ = rows.Close()
	}
	change("c3")
	if rows, err := stmt.QueryContext(t.Context()); err != nil {
		t.Error("prepared, again:", err)
	} else {
		_ = rows.Close()
	}
}
