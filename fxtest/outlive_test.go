package fxtest_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"
	"time"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

// TestSession_WhatOutlivesItDoesNotLookComplete: rows that are read after their
// session, and a row that is scanned after it.
func TestSession_WhatOutlivesItDoesNotLookComplete(t *testing.T) {
	eachApp(t, func(t *testing.T, app *fxtest.App) {
		const query = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 3000) select i from n"
		runs := map[string]func(fn func(ctx context.Context, tx *dbfx.Session) error) error{
			"Run": func(fn func(ctx context.Context, tx *dbfx.Session) error) error {
				return app.Sessions.Run(t.Context(), fn)
			},
			"View": func(fn func(ctx context.Context, tx *dbfx.Session) error) error {
				return app.Sessions.View(t.Context(), fn)
			},
			"Error": func(fn func(ctx context.Context, tx *dbfx.Session) error) error {
				err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
					return errors.Join(fn(ctx, tx), errBoom)
				})
				if errors.Is(err, errBoom) {
					return nil
				}
				return err
			},
			"Nested": func(fn func(ctx context.Context, tx *dbfx.Session) error) error {
				return app.Sessions.Run(t.Context(), func(ctx context.Context, _ *dbfx.Session) error { return app.Sessions.Run(ctx, fn) })
			},
		}
		for name, run := range runs {
			opens := map[string]func(ctx context.Context, tx *dbfx.Session) (*sql.Rows, error){
				"Session": func(ctx context.Context, tx *dbfx.Session) (*sql.Rows, error) { return tx.QueryContext(ctx, query) },
				"Background": func(_ context.Context, tx *dbfx.Session) (*sql.Rows, error) {
					return tx.QueryContext(context.Background(), query)
				},
				"SQLTx": func(_ context.Context, tx *dbfx.Session) (*sql.Rows, error) {
					return tx.SQLTx().QueryContext(context.Background(), query)
				},
			}
			for way, open := range opens {
				var rows *sql.Rows
				if err := run(func(ctx context.Context, tx *dbfx.Session) (err error) {
					if rows, err = open(ctx, tx); err == nil {
						rows.Next()
					}
					return err
				}); err != nil {
					t.Errorf("%s, %s: %v", name, way, err)
				}
				n := 1
				for rows.Next() {
					n++
				}
				if rows.Err() == nil && n < 3000 {
					t.Errorf("%s, %s: %d of 3000 rows look complete", name, way, n)
				}
			}
			var row *sql.Row
			if err := run(func(ctx context.Context, tx *dbfx.Session) error {
				row = tx.QueryRowContext(ctx, "select 1")
				return nil
			}); err != nil {
				t.Error(name, err)
			}
			if err := row.Scan(new(int)); err == nil || errors.Is(err, sql.ErrNoRows) {
				t.Errorf("%s: the row says %v", name, err)
			}
		}
		wantIdle(t, app)
	})
}

// TestSession_RowsBesideTheEndOfSQLTxDoNotLookComplete: its Commit ends the
// transaction that they are read in.
func TestSession_RowsBesideTheEndOfSQLTxDoNotLookComplete(t *testing.T) {
	eachApp(t, func(t *testing.T, app *fxtest.App) {
		for _, end := range []func(*sql.Tx) error{(*sql.Tx).Commit, (*sql.Tx).Rollback} {
			err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
				rows, err := tx.QueryContext(ctx, "with recursive n(i) as (select 1 union all select i + 1 from n where i < 3000) select i from n")
				if err != nil {
					return err
				}
				defer func() { _ = rows.Close() }()
				rows.Next()
				_ = end(tx.SQLTx())
				n := 1
				for rows.Next() {
					n++
				}
				if rows.Err() == nil && n < 3000 {
					t.Errorf("%d of 3000 rows look complete", n)
				}
				return nil
			})
			wantIs(t, err, dbfx.ErrRolledBack)
		}
	})
}

// TestSession_AStatementOfSQLTxEndsWithIt also under a context from elsewhere.
func TestSession_AStatementOfSQLTxEndsWithIt(t *testing.T) {
	eachApp(t, func(t *testing.T, app *fxtest.App) {
		endless := "select count(*) from (with recursive n(i) as (select 1 union all select i + 1 from n) select i from n)"
		if app.Config.Dialect() == dbfx.Postgres {
			endless = "select pg_sleep(1000)"
		}
		exec := func(ctx context.Context, db interface {
			ExecContext(context.Context, ...any) (sql.Result, error)
		}) error {
			_, err := db.ExecContext(ctx)
			return err
		}
		ways := map[string]func(ctx context.Context, tx *dbfx.Session) error{
			"Exec": func(ctx context.Context, tx *dbfx.Session) error {
				_, err := tx.SQLTx().ExecContext(ctx, endless)
				return err
			},
			"Query": func(ctx context.Context, tx *dbfx.Session) error {
				return tx.SQLTx().QueryRowContext(ctx, endless).Scan(new(any))
			},
			"Prepared": func(ctx context.Context, tx *dbfx.Session) error {
				stmt, err := tx.PrepareContext(ctx, endless)
				if err != nil {
					return err
				}
				return exec(ctx, stmt)
			},
			"Detached": func(_ context.Context, tx *dbfx.Session) error {
				_, err := tx.ExecContext(context.Background(), endless)
				return err
			},
		}
		for name, way := range ways {
			for _, fnErr := range []error{nil, errBoom} {
				bound, cancel := context.WithTimeout(context.Background(), time.Minute)
				ended := make(chan error, 1)
				err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
					if err := put(ctx, tx, "a", 1); err != nil {
						return err
					}
					go func() { ended <- way(bound, tx) }()
					for running := ""; running == ""; time.Sleep(time.Millisecond) {
						running = app.Sessions.Running()[0].Statement
					}
					return fnErr
				})
				want := fnErr
				if want == nil {
					want = dbfx.ErrSessionBusy
				}
				wantIs(t, err, want)
				if err := <-ended; err == nil || bound.Err() != nil {
					t.Errorf("%s, %v: the statement ended with %v, and its own context with %v", name, fnErr, err, bound.Err())
				}
				cancel()
				wantCount(t, app, "a", 0)
			}
		}
		wantIdle(t, app)
	})
}
