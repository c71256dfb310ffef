package fxtest_test

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"testing"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

// named counts the statements that are prepared by name on the server that runs it,
// and adds its argument.
const named = "select (select count(*) from pg_prepared_statements) + $1::int"

// useTwice runs a statement of the text named, which may have another server for each
// use.
func useTwice(ctx context.Context, stmt *sql.Stmt, n int) error {
	for range 2 {
		var got int
		if err := stmt.QueryRowContext(ctx, n).Scan(&got); err != nil {
			return err
		}
		if got != n {
			return fmt.Errorf("%d statements are prepared on a server", got-n)
		}
		if _, err := stmt.ExecContext(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// prepareAndUse prepares the text named on db, and uses it.
func prepareAndUse(ctx context.Context, db interface {
	PrepareContext(ctx context.Context, query string) (*sql.Stmt, error)
}, n int) error {
	stmt, err := db.PrepareContext(ctx, named)
	if err != nil {
		return err
	}
	return errorsJoin(useTwice(ctx, stmt, n), stmt.Close())
}

// TestPooler_NothingIsPreparedByName: sixteen at once prepare the same text through four
// servers, each in every way there is. By name one in two failed: the name was there
// already, or it was on another server.
func TestPooler_NothingIsPreparedByName(t *testing.T) {
	t.Parallel()
	cfg := fxtest.Postgres(t)
	port := bouncer(t, cfg, "pool_mode = transaction", "server_round_robin = 1")
	for _, mode := range []string{"cache_describe", "exec", "simple_protocol"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			cfg := hosts(cfg, "sslmode=disable&default_query_exec_mode="+mode, port)
			cfg.Pooler = dbfx.PoolerTransaction
			app := fxtest.New(t, fxtest.Use(cfg))
			shared, err := app.DB.PrepareContext(t.Context(), named)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = shared.Close() }()
			inTx := func(ctx context.Context, use func(tx *sql.Tx) error) error {
				tx, err := app.DB.BeginTx(ctx, nil)
				if err != nil {
					return err
				}
				return errorsJoin(use(tx), tx.Rollback())
			}
			inSession := func(ctx context.Context, use func(ctx context.Context, tx *dbfx.Session) error) error {
				return errorsJoin(app.Sessions.Run(ctx, use), app.Sessions.View(ctx, use))
			}
			ways := map[string]func(ctx context.Context, n int) error{
				"shared": func(ctx context.Context, n int) error { return useTwice(ctx, shared, n) },
				"handle": func(ctx context.Context, n int) error { return prepareAndUse(ctx, app.DB, n) },
				"Conn": func(ctx context.Context, n int) error {
					conn, err := app.DB.Conn(ctx)
					if err != nil {
						return err
					}
					return errorsJoin(prepareAndUse(ctx, conn, n), conn.Close())
				},
				"Tx": func(ctx context.Context, n int) error {
					return inTx(ctx, func(tx *sql.Tx) error { return prepareAndUse(ctx, tx, n) })
				},
				"Tx, shared": func(ctx context.Context, n int) error {
					return inTx(ctx, func(tx *sql.Tx) error { return useTwice(ctx, tx.StmtContext(ctx, shared), n) })
				},
				"Session": func(ctx context.Context, n int) error {
					return inSession(ctx, func(ctx context.Context, tx *dbfx.Session) error { return prepareAndUse(ctx, tx, n) })
				},
				"SQLTx, shared": func(ctx context.Context, n int) error {
					return inSession(ctx, func(ctx context.Context, tx *dbfx.Session) error {
						return useTwice(ctx, tx.SQLTx().StmtContext(ctx, shared), n)
					})
				},
			}
			var wg sync.WaitGroup
			for n := range 16 {
				wg.Go(func() {
					for range 5 {
						for way, use := range ways {
							if err := use(t.Context(), n); err != nil {
								t.Errorf("%s: %v", way, err)
							}
						}
					}
				})
			}
			wg.Wait()
		})
	}
}

// TestPooler_APreparedStatementIsReadWhenItIsPrepared, as elsewhere.
func TestPooler_APreparedStatementIsReadWhenItIsPrepared(t *testing.T) {
	t.Parallel()
	cfg := fxtest.Postgres(t)
	cfg.Port, cfg.Pooler = bouncer(t, cfg, "pool_mode = transaction"), dbfx.PoolerTransaction
	app := fxtest.New(t, fxtest.Use(cfg))
	for _, wrong := range []string{"selekt 1", "select 1; select 2", "select * from nowhere"} {
		if _, err := app.DB.PrepareContext(t.Context(), wrong); err == nil {
			t.Errorf("%s was prepared", wrong)
		}
		err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
			_, err := tx.PrepareContext(ctx, wrong)
			if err == nil {
				t.Errorf("%s was prepared in a session", wrong)
			}
			return nil
		})
		wantIs(t, err, dbfx.ErrRolledBack)
	}
	stmt, err := app.DB.PrepareContext(t.Context(), named)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stmt.Close() }()
	if _, err := stmt.ExecContext(t.Context(), 1, 2); err == nil || !contains(err.Error(), "expected 1 arguments, got 2") {
		t.Errorf("got %v", err)
	}
}
