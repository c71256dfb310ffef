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
