package fxtest_test

import (
	"context"
	"testing"

	"github.com/sergas/dbkit/dbfx"
)

// TestPostgres_WhatAUserLeavesDoesNotReachTheNext: the connection stays, and is as
// good as new.
func TestPostgres_WhatAUserLeavesDoesNotReachTheNext(t *testing.T) {
	t.Parallel()
	app := postgres(t, func(c *dbfx.Config) { c.PoolSize, c.MaxOverflow = 1, 0 })
	state := func() (state string, pid int) {
		t.Helper()
		err := app.DB.QueryRowContext(t.Context(), `select concat_ws(' ', current_setting('search_path'), current_setting('statement_timeout'), current_user,
			current_setting('my.setting', true), array(select pg_listening_channels()), (select count(*) from pg_cursors),
			(select count(*) from pg_class where relpersistence = 't'), (select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid())), pg_backend_pid()`).
			Scan(&state, &pid)
		if err != nil {
			t.Fatal(err)
		}
		return state, pid
	}
	if _, err := app.DB.ExecContext(t.Context(), "select set_config('my.setting', '', false)"); err != nil {
		t.Fatal(err) // a setting that was never set is NULL, and once it was set empty
	}
	clean, first := state()
	for _, text := range []string{
		"set search_path = pg_catalog", "set statement_timeout = '1h'", "set role pg_monitor", "listen news", "create temp table x (a integer)",
		"select pg_advisory_lock(1)", "select pg_try_advisory_lock(2)", "declare c cursor with hold for select 1", "select set_config('my.setting', 'on', false)",
	} {
		paths := map[string]func() error{
			"Session": func() error {
				return app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
					_, err := tx.ExecContext(ctx, text)
					return err
				})
			},
			"Raw": func() error {
				return app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error { return raw(ctx, tx, text) })
			},
			"Rolled back": func() error {
				_ = app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
					_, _ = tx.ExecContext(ctx, text)
					return errBoom
				})
				return nil
			},
			"Prepared": func() error {
				return app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
					stmt, err := tx.PrepareContext(ctx, text)
					if err == nil {
						_, err = stmt.ExecContext(ctx)
					}
					return err
				})
			},
		}
		for path, use := range paths {
			if err := use(); err != nil {
				t.Errorf("%s, %q: %v", path, text, err)
			}
			if got, pid := state(); got != clean || pid != first {
				t.Errorf("%s, %q: the next user sees %q on %d, want %q on %d", path, text, got, pid, clean, first)
			}
		}
	}
}
