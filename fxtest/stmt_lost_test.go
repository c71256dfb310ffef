package fxtest_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"testing"
	"time"

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

// TestPostgres_ALostConnectionSaysSoEachTime: whoever goes on with a connection that is
// gone is told that, by each way that keeps one.
func TestPostgres_ALostConnectionSaysSoEachTime(t *testing.T) {
	t.Parallel()
	app, _, p := proxied(t)
	twice := func(how string, db dbfx.DBTX) {
		p.cut()
		for range 2 {
			_, err := db.ExecContext(t.Context(), "select 1")
			if err == nil || contains(err.Error(), "driver: bad connection") {
				t.Errorf("%s: got %v", how, err)
			}
		}
	}
	conn, err := app.DB.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	twice("Conn", conn)
	_ = conn.Close()
	tx, err := app.DB.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	twice("Tx", tx)
	_ = tx.Rollback()
	_ = app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
		if err := touch(ctx, tx); err != nil {
			return err
		}
		twice("SQLTx", tx.SQLTx())
		return nil
	})
}

// TestPostgres_ALostConnectionHangsNoSession: a statement beside SQLTx cannot be sent, for
// its connection is gone. As driver.ErrBadConn it would make database/sql close the connection,
// and wait for the end of the *sql.Tx first.
func TestPostgres_ALostConnectionHangsNoSession(t *testing.T) {
	t.Parallel()
	app, _, p := proxied(t, func(c *dbfx.Config) { c.PoolSize, c.MaxOverflow = 1, 0 })
	if err := selectKey(t.Context(), app.DB); err != nil { // the connection has idled
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		ended <- app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
			_ = tx.SQLTx()
			if err := selectKey(ctx, tx); err != nil {
				return err
			}
			p.reset()
			time.Sleep(20 * time.Millisecond) // the system knows, and nothing can be sent
			for range 2 {
				if err := updateKey(ctx, tx); err == nil || contains(err.Error(), "driver: bad connection") {
					t.Errorf("got %v", err)
				}
			}
			return selectKey(ctx, tx)
		})
	}()
	select {
	case err := <-ended:
		if err == nil {
			t.Error("Run says nil")
		}
	case <-time.After(time.Minute):
		t.Fatal("the session waits for its own end")
	}
}

// TestPostgres_ADeadConnectionMakesTheOthersSuspect: the ping of one finds that the
// server has forgotten it. What was in use meanwhile does not go back to the pool.
func TestPostgres_ADeadConnectionMakesTheOthersSuspect(t *testing.T) {
	t.Parallel()
	app, _, p := proxied(t, func(c *dbfx.Config) { c.PoolSize, c.MaxOverflow = 3, 0 })
	inUse, err := app.DB.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := selectKey(t.Context(), app.DB); err != nil {
		t.Fatal(err)
	}
	p.doom()
	time.Sleep(1100 * time.Millisecond) // idled enough for a ping
	if err := selectKey(t.Context(), app.DB); err != nil {
		t.Error("after a ping:", err)
	}
	if err := inUse.Close(); err != nil {
		t.Error(err)
	}
	if err := selectKey(t.Context(), app.DB); err != nil { // would get what has gone back last
		t.Error("on the other one:", err)
	}
}
