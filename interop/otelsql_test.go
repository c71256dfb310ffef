package interop

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"testing"

	"github.com/XSAM/otelsql"
	"go.uber.org/fx"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

// TestOpener_TakesOtelsql: the guards of a session reach through what an Opener
// puts around the connections.
func TestOpener_TakesOtelsql(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		opened := 0
		app := fxtest.New(t, fxtest.Use(cfg), fx.Supply(dbfx.Opener(func(_ dbfx.HandleInfo, c driver.Connector) *sql.DB {
			opened++
			return otelsql.OpenDB(c)
		})))
		if opened == 0 {
			t.Error("the opener was not asked")
		}
		if _, err := app.DB.ExecContext(t.Context(), "create table kv (k text primary key)"); err != nil {
			t.Fatal(err)
		}
		err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
			if _, err := tx.ExecContext(ctx, "insert into kv values ($1)", "a"); err != nil {
				return err
			}
			_, _ = tx.ExecContext(ctx, "insert into kv values ($1)", "a") // swallowed
			return nil
		})
		if !errors.Is(err, dbfx.ErrRolledBack) {
			t.Errorf("got %v, want ErrRolledBack", err)
		}
		undo := errors.New("undo")
		err = app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
			for i, end := range []error{nil, undo} {
				err := app.Sessions.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
					if _, err := tx.ExecContext(ctx, "insert into kv values ($1)", fmt.Sprint("nested ", i)); err != nil {
						return err
					}
					return end
				})
				if err != end {
					t.Errorf("nested %d: got %v", i, err)
				}
			}
			return nil
		})
		var keys string
		if scanErr := app.DB.QueryRowContext(t.Context(), "select coalesce(max(k), '') || count(*) from kv").Scan(&keys); err != nil || scanErr != nil || keys != "nested 01" {
			t.Errorf("nested: %v, %v, got %q", err, scanErr, keys)
		}
	})
}
