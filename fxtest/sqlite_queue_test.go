package fxtest_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

// sqliteApp is an application on a file with a table, or in memory.
func sqliteApp(t *testing.T, change ...func(*dbfx.Config)) *fxtest.App {
	t.Helper()
	cfg := fxtest.SQLite(t)
	for _, fn := range change {
		fn(&cfg)
	}
	app := fxtest.New(t, fxtest.Use(cfg))
	if _, err := app.DB.ExecContext(t.Context(), "create table kv (k text, v integer)"); err != nil {
		t.Fatal(err)
	}
	return app
}

// TestSQLite_ReadsDoNotWaitBehindWritersThatWait: the reads end while the session
// holds the right to write and 32 others wait for it.
func TestSQLite_ReadsDoNotWaitBehindWritersThatWait(t *testing.T) {
	t.Parallel()
	app := sqliteApp(t, func(c *dbfx.Config) { c.SQLiteBusyTimeout = time.Minute })
	var wg sync.WaitGroup
	err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
		if err := put(ctx, tx, "mine", 1); err != nil {
			return err
		}
		for range 32 {
			wg.Go(func() {
				if _, err := app.DB.ExecContext(context.WithoutCancel(ctx), "insert into kv values ('bare', 1)"); err != nil {
					t.Error(err)
				}
			})
		}
		for app.DB.Stats().InUse < 33 { // the session's, and those that wait
			time.Sleep(time.Millisecond)
		}
		for range 20 {
			var n int
			if err := app.DB.QueryRowContext(ctx, "with updated_at as (select count(*) as n from kv) select n from updated_at").Scan(&n); err != nil || n != 0 {
				t.Errorf("a bare read inside Run: %d, %v", n, err)
			}
			if err := app.Sessions.View(app.Sessions.Detach(ctx), func(ctx context.Context, tx *dbfx.Session) error {
				return tx.QueryRowContext(ctx, "select count(*) from kv").Scan(&n)
			}); err != nil || n != 0 {
				t.Errorf("a View beside it: %d, %v", n, err)
			}
		}
		if n := app.DB.Stats().InUse; n < 33 {
			t.Errorf("only %d are left: the reads came after the writers", n)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	wg.Wait()
	wantCount(t, app, "bare", 32)
}

func TestSQLite_ABeginTypedByHandStandsInTheQueue(t *testing.T) {
	t.Parallel()
	app := sqliteApp(t, func(c *dbfx.Config) { c.SQLiteBusyTimeout = time.Minute })
	var wg sync.WaitGroup
	const each = 20
	for range 4 {
		wg.Go(func() {
			for range each {
				if err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error { return put(ctx, tx, "run", 1) }); err != nil {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			conn, err := app.DB.Conn(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = conn.Close() }()
			for range each {
				for _, query := range []string{"begin", "insert into kv values ('hand', 1)", "insert into kv values ('hand', 1)", "commit"} {
					if _, err := conn.ExecContext(t.Context(), query); err != nil {
						t.Error(query, err)
					}
				}
			}
		})
	}
	wg.Wait()
	wantCount(t, app, "run", 4*each)
	wantCount(t, app, "hand", 8*each)
}

func TestSQLite_AViewsPragmaDoesNotLetItWrite(t *testing.T) {
	t.Parallel()
	configs := map[string]func(*dbfx.Config){
		"File":          func(*dbfx.Config) {},
		"OneConnection": func(c *dbfx.Config) { c.SQLiteMaxConns = 1 },
		"Memory":        func(c *dbfx.Config) { c.SQLitePath = ":memory:" },
	}
	forms := map[string][]string{
		"Apart":     {"pragma query_only = 0", "insert into kv values ('view', 1)"},
		"Schema":    {"PRAGMA main.\"query_only\"(off)", "insert into kv values ('view', 1)"},
		"Together":  {"pragma query_only = 0; insert into kv values ('view', 1)"},
		"Hidden":    {"select 1; /* c */ pragma query_only = 0; select 2", "insert into kv values ('view', 1)"},
		"Returning": {"pragma query_only = 0", "with x as (select 1) insert into kv select 'view', * from x returning v"},
		"Explained": {"explain pragma query_only = 0", "explain query plan pragma query_only = 0", "insert into kv values ('view', 1)"},
		"Schemata":  {"pragma query_only = 0", "pragma user_version = 7"},
	}
	for name, change := range configs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			app := sqliteApp(t, change)
			for form, queries := range forms {
				fn := func(ctx context.Context, tx *dbfx.Session) error {
					var err error
					for _, query := range queries {
						_, execErr := tx.ExecContext(ctx, query)
						err = errors.Join(err, execErr)
					}
					return err
				}
				if err := app.Sessions.View(t.Context(), fn); err == nil {
					t.Errorf("%s: it wrote", form)
				}
				if err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
					if err := app.Sessions.View(ctx, fn); err == nil {
						t.Errorf("%s: nested, it wrote", form)
					}
					return put(ctx, tx, "run", 1)
				}); err != nil {
					t.Errorf("%s: the session around it: %v", form, err)
				}
			}
			wantCount(t, app, "view", 0)
			wantCount(t, app, "run", len(forms))
			if err := put(t.Context(), app.DB, "after", 1); err != nil {
				t.Error(err)
			}
		})
	}
}
