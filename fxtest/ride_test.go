package fxtest_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

// tallyApp opens an application behind a tally, with a pool of one connection that
// has been used, and a table kv.
func tallyApp(t *testing.T, change ...func(*dbfx.Config)) (app, direct *fxtest.App, y *tally) {
	t.Helper()
	cfg := fxtest.Postgres(t)
	direct = fxtest.New(t, fxtest.Use(cfg))
	if _, err := direct.DB.ExecContext(t.Context(), "create table kv (k text primary key, v integer)"); err != nil {
		t.Fatal(err)
	}
	return behindTally(t, cfg, direct, change...)
}

func behindTally(t *testing.T, cfg dbfx.Config, direct *fxtest.App, change ...func(*dbfx.Config)) (app, _ *fxtest.App, y *tally) {
	t.Helper()
	y = newTally(t, cfg)
	cfg.Port, cfg.PoolSize, cfg.MaxOverflow, cfg.PoolPrePing = y.port, 1, 0, "off"
	for _, f := range change {
		f(&cfg)
	}
	return fxtest.New(t, fxtest.Use(cfg)), direct, y
}

const (
	readKey  = "select v from kv where k = $1"
	writeKey = "update kv set v = v + 1 where k = $1"
)

// selectKey reads one row.
func selectKey(ctx context.Context, tx dbfx.DBTX) error {
	if err := tx.QueryRowContext(ctx, readKey, "a").Scan(new(int)); err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	return nil
}

func updateKey(ctx context.Context, tx dbfx.DBTX) error {
	_, err := tx.ExecContext(ctx, writeKey, "a")
	return err
}

// session is a Run or a View that must succeed.
func session(t *testing.T, run func(context.Context, func(context.Context, *dbfx.Session) error, ...dbfx.SessionOption) error,
	fns ...func(context.Context, dbfx.DBTX) error,
) {
	t.Helper()
	err := run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
		for _, fn := range fns {
			if err := fn(ctx, tx); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func wantTrips(t *testing.T, app *fxtest.App, y *tally) {
	t.Helper()
	s := app.Sessions
	nested := func(ctx context.Context, _ dbfx.DBTX) error {
		return s.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error { return updateKey(ctx, tx) })
	}
	tests := []struct {
		name string
		want int
		work func()
	}{
		{"an empty Run", 0, func() { session(t, s.Run) }},
		{"an empty View", 0, func() { session(t, s.View) }},
		{"Run(update)", 2, func() { session(t, s.Run, updateKey) }},
		{"Run(select, update)", 3, func() { session(t, s.Run, selectKey, updateKey) }},
		{"Run(Run(update))", 4, func() { session(t, s.Run, nested) }},
		{"Run(select, Run(update))", 5, func() { session(t, s.Run, selectKey, nested) }},
		{"View(select)", 1, func() { viewUnanswered(t, app, y) }},
		{"a bare select", 1, func() { _ = selectKey(t.Context(), app.DB) }},
	}
	y.takesNoMore() // one that waited for an answer would be given up for another
	for _, tt := range tests {
		tt.work() // fills the caches
		y.release()
		_ = selectKey(t.Context(), app.DB)
		if got := y.count(tt.work); got != tt.want {
			t.Errorf("%s: waited for %d round trips, want %d", tt.name, got, tt.want)
		}
		y.release()
	}
}

// viewUnanswered is a View whose ROLLBACK is not answered.
func viewUnanswered(t *testing.T, app *fxtest.App, y *tally) {
	t.Helper()
	session(t, app.Sessions.View, func(ctx context.Context, tx dbfx.DBTX) error {
		defer y.hold()
		return selectKey(ctx, tx)
	})
}

func TestRide_BeginAndTheRollbackOfAViewCostNoTrip(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"cache_statement", "cache_describe", "exec"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			app, _, y := tallyApp(t, func(c *dbfx.Config) {
				c.DatabaseURL = dbfx.NewSecret(c.URL() + "&default_query_exec_mode=" + mode)
			})
			wantTrips(t, app, y)
		})
	}
}

func TestRide_TripsBehindPgBouncer(t *testing.T) {
	t.Parallel()
	cfg := fxtest.Postgres(t)
	direct := fxtest.New(t, fxtest.Use(cfg))
	if _, err := direct.DB.ExecContext(t.Context(), "create table kv (k text primary key, v integer)"); err != nil {
		t.Fatal(err)
	}
	cfg.Port = bouncer(t, cfg, "pool_mode = transaction")
	app, _, y := behindTally(t, cfg, direct, func(c *dbfx.Config) { c.Pooler, c.StatementTimeout = "transaction", 7*time.Second })
	wantTrips(t, app, y)
	session(t, app.Sessions.Run, func(ctx context.Context, tx dbfx.DBTX) error {
		var timeout string
		if err := tx.QueryRowContext(ctx, "show statement_timeout").Scan(&timeout); timeout != "7s" || err != nil {
			t.Errorf("the settings did not ride along: got %s, %v", timeout, err)
		}
		return nil
	})
}

// firsts are all the ways to begin a session.
var firsts = map[string]func(ctx context.Context, tx *dbfx.Session) error{
	"Exec": func(ctx context.Context, tx *dbfx.Session) error {
		_, err := tx.ExecContext(ctx, "insert into kv values ($1, 1)", "a")
		return err
	},
	"ExecWithoutArguments": func(ctx context.Context, tx *dbfx.Session) error {
		_, err := tx.ExecContext(ctx, "insert into kv values ('a', 1)")
		return err
	},
	"Query": func(ctx context.Context, tx *dbfx.Session) error {
		rows, err := tx.QueryContext(ctx, "insert into kv values ($1, 1) returning k", "a")
		if err != nil {
			return err
		}
		return errors.Join(rows.Close(), rows.Err())
	},
	"QueryRow": func(ctx context.Context, tx *dbfx.Session) error {
		return tx.QueryRowContext(ctx, "insert into kv values ('a', 1) returning k").Scan(new(string))
	},
	"Prepare": func(ctx context.Context, tx *dbfx.Session) error {
		stmt, err := tx.PrepareContext(ctx, "insert into kv values ($1, 1)")
		if err != nil {
			return err
		}
		_, err = stmt.ExecContext(ctx, "a")
		return err
	},
	"SQLTx": func(ctx context.Context, tx *dbfx.Session) error {
		_, err := tx.SQLTx().ExecContext(ctx, "insert into kv values ($1, 1)", "a")
		return err
	},
	"Copy": func(ctx context.Context, tx *dbfx.Session) error {
		return tx.Raw(func(conn any) error {
			_, err := conn.(interface{ Conn() *pgx.Conn }).Conn().CopyFrom(ctx, pgx.Identifier{"kv"}, []string{"k", "v"}, pgx.CopyFromRows([][]any{{"a", 1}}))
			return err
		})
	},
	"Batch": func(ctx context.Context, tx *dbfx.Session) error {
		return tx.Raw(func(conn any) error {
			batch := &pgx.Batch{}
			batch.Queue("insert into kv values ($1, 1)", "a")
			return conn.(interface{ Conn() *pgx.Conn }).Conn().SendBatch(ctx, batch).Close()
		})
	},
}

// nestedFirst begins with a savepoint.
func nestedFirst(s *dbfx.Sessions) func(ctx context.Context, tx *dbfx.Session) error {
	return func(ctx context.Context, _ *dbfx.Session) error { return s.Run(ctx, firsts["Exec"]) }
}

func TestRide_TheFirstStatementIsInTheTransaction(t *testing.T) {
	t.Parallel()
	app, direct, _ := tallyApp(t)
	firsts := withNested(app)
	for name, first := range firsts {
		enough := errors.New("enough")
		err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
			if err := first(ctx, tx); err != nil {
				return err
			}
			var began bool
			if err := tx.QueryRowContext(ctx, "select now() <> statement_timestamp()").Scan(&began); err != nil || !began {
				t.Errorf("%s: in a transaction: %t, %v", name, began, err)
			}
			return enough
		})
		if !errors.Is(err, enough) {
			t.Errorf("%s: %v", name, err)
		}
		wantCount(t, direct, "a", 0)
	}
}

func withNested(app *fxtest.App) map[string]func(ctx context.Context, tx *dbfx.Session) error {
	all := map[string]func(ctx context.Context, tx *dbfx.Session) error{"Savepoint": nestedFirst(app.Sessions)}
	for name, fn := range firsts {
		all[name] = fn
	}
	return all
}

// endOthers ends the servers of all other connections to the database.
func endOthers(t *testing.T, direct *fxtest.App) {
	t.Helper()
	_, err := direct.DB.ExecContext(t.Context(), `select pg_terminate_backend(pid, 60000) from pg_stat_activity
		where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'`)
	if err != nil {
		t.Error(err)
	}
}

func TestRide_AConnectionThatDiedIdleIsReplacedOnce(t *testing.T) {
	t.Parallel()
	app, direct, y := tallyApp(t)
	for name, first := range withNested(app) {
		_ = selectKey(t.Context(), app.DB)
		runs, before := 0, y.begun()
		err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
			runs++
			endOthers(t, direct)
			return first(ctx, tx)
		})
		if begins := y.begun() - before; err != nil || runs != 1 || begins > 2 { // on the dead line, and on the next
			t.Errorf("%s: got %v, fn ran %d times, BEGIN was sent %d times", name, err, runs, begins)
		}
		wantCount(t, direct, "a", 1)
		if _, err := direct.DB.ExecContext(t.Context(), "truncate kv"); err != nil {
			t.Fatal(err)
		}
	}
}

// The line is cut before the first, and behind every message of the first
// exchange. What is sent again can have left nothing.
func TestRide_CutInTheFirstExchange(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"cache_statement", "exec", "simple_protocol"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			app, direct, y := tallyApp(t, func(c *dbfx.Config) {
				c.DatabaseURL = dbfx.NewSecret(c.URL() + "&default_query_exec_mode=" + mode)
			})
			for name, first := range map[string]func(context.Context, *dbfx.Session) error{"Exec": firsts["Exec"], "ExecWithoutArguments": firsts["ExecWithoutArguments"], "Query": firsts["Query"]} {
				for n := range 9 {
					_ = selectKey(t.Context(), app.DB)
					runs := 0
					err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
						runs++
						y.cutAfter(n, false)
						defer y.cutAfter(-1, false)
						return first(ctx, tx)
					})
					want := 0
					if err == nil {
						want = 1
					}
					if runs != 1 || errors.Is(err, dbfx.ErrCommitUnknown) || n == 0 && err != nil && mode != "simple_protocol" {
						t.Errorf("%s cut after %d messages: got %v, fn ran %d times", name, n, err, runs)
					}
					wantCount(t, direct, "a", want)
					if _, err := direct.DB.ExecContext(t.Context(), "truncate kv"); err != nil {
						t.Fatal(err)
					}
				}
			}
		})
	}
}

func TestRide_ALineThatIsCutAgainIsTold(t *testing.T) {
	t.Parallel()
	app, direct, y := tallyApp(t)
	before := y.begun()
	err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
		y.cutAfter(0, true)
		defer y.cutAfter(-1, false)
		return firsts["Exec"](ctx, tx)
	})
	if err == nil || errors.Is(err, dbfx.ErrCommitUnknown) {
		t.Errorf("got %v", err)
	}
	if n := y.begun() - before; n != 2 {
		t.Errorf("BEGIN was sent %d times, want 2", n)
	}
	wantCount(t, direct, "a", 0)
}

func TestRide_AFreshConnectionIsNotReplaced(t *testing.T) {
	t.Parallel()
	app, direct, _ := tallyApp(t, func(c *dbfx.Config) { c.TokenPersistenceEnabled = false })
	err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
		endOthers(t, direct)
		return firsts["Exec"](ctx, tx)
	})
	if err == nil || !strings.Contains(err.Error(), "57P01") {
		t.Errorf("got %v, want the server's reason", err)
	}
}

func TestRide_StatementsAfterAFailedOneAreNotRun(t *testing.T) {
	t.Parallel()
	app, direct, _ := tallyApp(t)
	for _, bad := range []string{"selekt 1", "select $1::int / 0", "select * from missing where a = $1"} {
		err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
			args := []any{1}[:strings.Count(bad, "$")]
			if _, err := tx.ExecContext(ctx, bad, args...); err == nil {
				t.Errorf("%s: it ran", bad)
			}
			_, err := tx.ExecContext(ctx, "insert into kv values ('a', 1)")
			wantIs(t, err, dbfx.ErrRolledBack)
			return nil
		})
		wantIs(t, err, dbfx.ErrRolledBack)
		wantCount(t, direct, "a", 0)
	}
}

func TestRide_TimeIsThatOfTheFirstStatement(t *testing.T) {
	t.Parallel()
	app, direct, _ := tallyApp(t)
	err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
		var before, now time.Time
		if err := direct.DB.QueryRowContext(ctx, "select clock_timestamp()").Scan(&before); err != nil {
			return err
		}
		if err := tx.QueryRowContext(ctx, "select now()").Scan(&now); err != nil {
			return err
		}
		if now.Before(before) {
			t.Errorf("now() is %s, before the first statement at %s", now, before)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestRide_ObserversCountTheTimeOnce(t *testing.T) {
	t.Parallel()
	app, _, _ := tallyApp(t)
	ran := fxtest.Statements(t, app)
	session(t, app.Sessions.Run)
	session(t, app.Sessions.View)
	session(t, app.Sessions.Run, func(ctx context.Context, tx dbfx.DBTX) error {
		_, err := tx.ExecContext(ctx, "select pg_sleep(0.2)")
		return err
	})
	session(t, app.Sessions.View, selectKey)
	var got []string
	for _, e := range ran.Events() {
		got = append(got, e.SQL)
		if strings.HasPrefix(e.SQL, "BEGIN") && e.Duration >= 200*time.Millisecond {
			t.Errorf("BEGIN took %s: it has the time of its statement", e.Duration)
		}
	}
	want := fmt.Sprint([]string{"BEGIN", "select pg_sleep(0.2)", "COMMIT", "BEGIN READ ONLY", readKey, "ROLLBACK"})
	if fmt.Sprint(got) != want {
		t.Errorf("got %q\nwant %s", got, want)
	}
}

// The limit of a session is that of BEGIN too where fn has pgx's own connection.
func TestRide_BeginOfRawEndsWithTheSessionsLimit(t *testing.T) {
	t.Parallel()
	app, _, y := tallyApp(t)
	raw := func(ctx context.Context, tx *dbfx.Session) error {
		return tx.Raw(func(conn any) error {
			_, err := conn.(interface{ Conn() *pgx.Conn }).Conn().Exec(ctx, "select 1")
			return err
		})
	}
	limit := dbfx.Timeout(300 * time.Millisecond)
	for name, run := range map[string]func(ctx context.Context) error{
		"the session's": func(ctx context.Context) error { return app.Sessions.Run(ctx, raw, limit) },
		"that of a part of it": func(ctx context.Context) error {
			return app.Sessions.Run(ctx, func(ctx context.Context, _ *dbfx.Session) error {
				return app.Sessions.Run(ctx, raw, dbfx.Join(), limit)
			})
		},
	} {
		_ = selectKey(t.Context(), app.DB)
		y.hold()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		if err := run(ctx); err == nil || ctx.Err() != nil {
			t.Errorf("%s: got %v, %v", name, err, ctx.Err())
		}
		cancel()
		y.release()
	}
}

// A statement whose own context has ended was not sent: no connection was lost, and
// fn is not run again for it.
func TestPostgres_AStatementAfterTheEndOfItsContextSaysSo(t *testing.T) {
	t.Parallel()
	app, direct, _ := tallyApp(t)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for name, statement := range map[string]func(tx *dbfx.Session) error{
		"Exec": func(tx *dbfx.Session) error {
			_, err := tx.ExecContext(over, "insert into kv values ('a', 1)")
			return err
		},
		"Args": func(tx *dbfx.Session) error {
			_, err := tx.ExecContext(over, "insert into kv values ($1, 1)", "a")
			return err
		},
		"Query":   func(tx *dbfx.Session) error { return tx.QueryRowContext(over, "select 1").Scan(new(int)) },
		"Prepare": func(tx *dbfx.Session) error { _, err := tx.PrepareContext(over, "select 1"); return err },
	} {
		runs := 0
		err := app.Sessions.Run(t.Context(), func(_ context.Context, tx *dbfx.Session) error {
			runs++
			return statement(tx)
		}, dbfx.Idempotent(), dbfx.Retry(dbfx.RetryPolicy{MaxAttempts: 3}))
		if !errors.Is(err, context.Canceled) || runs != 1 {
			t.Errorf("%s: got %v, fn ran %d times", name, err, runs)
		}
	}
	wantCount(t, direct, "a", 0)
}
