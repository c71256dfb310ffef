package fxtest_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"testing"

	"github.com/sergas/dbkit/dbfx"
)

// TestPostgres_APreparedStatementOnALostConnectionSaysSo, and never a bare "driver:
// bad connection", which says nothing.
func TestPostgres_APreparedStatementOnALostConnectionSaysSo(t *testing.T) {
	t.Parallel()
	app, direct, _ := tallyApp(t)
	for how, use := range map[string]func(ctx context.Context, stmt *sql.Stmt) error{
		"Exec":  func(ctx context.Context, stmt *sql.Stmt) error { _, err := stmt.ExecContext(ctx, "a"); return err },
		"Query": func(ctx context.Context, stmt *sql.Stmt) error { return stmt.QueryRowContext(ctx, "a").Scan(new(int)) },
	} {
		err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
			stmt, err := tx.PrepareContext(ctx, readKey)
			if err != nil {
				return err
			}
			endOthers(t, direct)
			first := use(ctx, stmt)
			second := use(ctx, stmt)
			if first == nil || second == nil || first == driver.ErrBadConn || second == driver.ErrBadConn { //nolint:errorlint // bare
				t.Errorf("%s: got %v, and then %v", how, first, second)
			}
			return first
		})
		if err == nil || err == driver.ErrBadConn { //nolint:errorlint // bare
			t.Errorf("%s: Run says %v", how, err)
		}
	}
}
