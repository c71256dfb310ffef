package fxtest_test

import (
	"context"
	"runtime"
	"testing"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

// t.FailNow in Raw is such a Goexit. Raw of database/sql then closes the
// connection, and waits for the rows that are open on it.
func TestSession_GoexitInRawEndsTheSessionWhateverIsOpen(t *testing.T) {
	leave := map[string]func(ctx context.Context, tx *dbfx.Session) error{
		"Nothing": func(context.Context, *dbfx.Session) error { return nil },
		"Rows": func(ctx context.Context, tx *dbfx.Session) error {
			_, err := tx.QueryContext(ctx, "select v from kv") //nolint:rowserrcheck,sqlclosecheck // left open
			return err
		},
		"SQLTx": func(_ context.Context, tx *dbfx.Session) error {
			tx.SQLTx()
			return nil
		},
		"Prepared": func(ctx context.Context, tx *dbfx.Session) error {
			stmt, err := tx.PrepareContext(ctx, "select v from kv")
			if err != nil {
				return err
			}
			_, err = stmt.QueryContext(ctx) //nolint:rowserrcheck,sqlclosecheck // left open
			return err
		},
	}
	eachApp(t, func(t *testing.T, app *fxtest.App) {
		for name, open := range leave {
			t.Run(name, func(t *testing.T) {
				ended := make(chan error, 1)
				go func() {
					var err error
					defer func() { ended <- err }()
					_ = app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
						if err = put(ctx, tx, name, 1); err != nil {
							return err
						}
						if err = open(ctx, tx); err != nil {
							return err
						}
						return tx.Raw(func(any) error {
							runtime.Goexit()
							return nil
						})
					})
				}()
				if err := <-ended; err != nil {
					t.Error(err)
				}
				wantCount(t, app, "%", 0)
				wantIdle(t, app)
			})
		}
	})
}
