package fxtest_test

import (
	"context"
	"errors"
	"testing"

	"github.com/sergas/dbkit/dbfx"
)

// TestPostgres_ALaterStatementIsNotPlannedAnew, for what ran before it in its
// transaction would be lost: it is told, and Retry repeats it on another connection.
func TestPostgres_ALaterStatementIsNotPlannedAnew(t *testing.T) {
	t.Parallel()
	for way, tt := range plannedWays {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			app, change := planned(t, tt.args, tt.pooler)
			read := func(ctx context.Context, tx *dbfx.Session) error { return readAll(ctx, tx, someKV, 1) }
			calls := 0
			err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
				calls++
				if calls > 1 {
					return read(ctx, tx)
				}
				err := app.Sessions.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error { // and holds no lock
					return errors.Join(read(ctx, tx), errBoom)
				})
				wantIs(t, err, errBoom)
				change("alter table kv add column c integer")
				err = read(ctx, tx)
				if !dbfx.IsRetryable(err) {
					t.Errorf("a later statement: got %v", err)
				}
				return err
			}, dbfx.Retry(dbfx.RetryPolicy{MaxAttempts: 2}))
			if err != nil || calls != 2 {
				t.Errorf("got %v after %d calls, want nil after 2", err, calls)
			}
		})
	}
}

// TestPostgres_WhatIsWrongStaysWrong: a statement that fails once more is told why, and
// nothing of it stays.
func TestPostgres_WhatIsWrongStaysWrong(t *testing.T) {
	t.Parallel()
	for way, tt := range plannedWays {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			app, change := planned(t, tt.args, tt.pooler)
			for what, work := range map[string]func() error{
				"bare": func() error { return readAll(t.Context(), app.DB, someKV, "1") },
				"Run": func() error {
					return app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
						first := readAll(ctx, tx, someKV, "1")
						if first != nil {
							if _, err := tx.ExecContext(ctx, "insert into kv (k) values ('denied')"); err == nil {
								t.Error("the transaction goes on behind a failed statement")
							}
						}
						return first
					})
				},
			} {
				for range 3 {
					if err := work(); err != nil {
						t.Fatal(err)
					}
				}
				change("alter table kv alter v type json using '1'")
				for range 3 {
					if err := work(); err == nil || !contains(err.Error(), "SQLSTATE 42883") {
						t.Errorf("%s: got %v", what, err)
					}
				}
				change("alter table kv alter v type integer using 1")
			}
			wantCount(t, app, "denied", 0)
		})
	}
}

// TestPostgres_ATextThatHasCommittedIsNotSentAgain: it had a part that ran before the
// one whose plan was useless.
func TestPostgres_ATextThatHasCommittedIsNotSentAgain(t *testing.T) {
	t.Parallel()
	app, change := planned(t, "", false)
	conn, err := app.DB.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	for _, text := range []string{
		"create sequence runs", "prepare own as select 1", "prepare p as select * from kv", "execute p",
		"create procedure twice() language plpgsql as $$ begin perform nextval('runs'); commit; execute 'execute p'; end $$",
	} {
		if _, err := conn.ExecContext(t.Context(), text); err != nil {
			t.Fatal(err)
		}
	}
	change("alter table kv add column c integer")
	for _, call := range []func() error{
		func() error {
			_, err := conn.ExecContext(t.Context(), "begin; select nextval('runs'); commit; execute p")
			return err
		},
		func() error { _, err := conn.ExecContext(t.Context(), "call twice()"); return err },
		func() error { return readAll(t.Context(), conn, "call twice()") },
	} {
		if err := call(); err == nil || !contains(err.Error(), "SQLSTATE 0A000") {
			t.Errorf("got %v", err)
		}
	}
	if err := readAll(t.Context(), conn, allOfKV); err != nil { // is planned here
		t.Error(err)
	}
	change("alter table kv add column d integer")
	if err := readAll(t.Context(), conn, allOfKV); err != nil {
		t.Error(err)
	}
	if _, err := conn.ExecContext(t.Context(), "execute own"); err != nil {
		t.Error("what its user has prepared is gone:", err)
	}
	var runs int
	if err := conn.QueryRowContext(t.Context(), "select last_value from runs").Scan(&runs); err != nil || runs != 3 {
		t.Errorf("three texts ran %d times, %v", runs, err)
	}
}
