package fxtest_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

// proxied returns an application behind a proxy and one beside it, on the same
// database with the table kv.
func proxied(t *testing.T, change ...func(*dbfx.Config)) (app, direct *fxtest.App, p *proxy) {
	t.Helper()
	cfg := fxtest.Postgres(t)
	direct = fxtest.New(t, fxtest.Use(cfg))
	if _, err := direct.DB.ExecContext(t.Context(), "create table kv (k text primary key, v integer)"); err != nil {
		t.Fatal(err)
	}
	p = newProxy(t, cfg)
	cfg.Port = p.port
	for _, f := range change {
		f(&cfg)
	}
	return fxtest.New(t, fxtest.Use(cfg)), direct, p
}

// wantUnknown checks that err says "not known" and nothing that is not so.
func wantUnknown(t *testing.T, err error) {
	t.Helper()
	var unknown *dbfx.CommitUnknownError
	if !errors.As(err, &unknown) || !errors.Is(err, dbfx.ErrCommitUnknown) {
		t.Errorf("got %v, want ErrCommitUnknown", err)
	}
	for _, lie := range []error{context.Canceled, context.DeadlineExceeded, dbfx.ErrRolledBack, dbfx.ErrCheckoutTimeout} {
		if errors.Is(err, lie) {
			t.Errorf("the unknown commit matches %v", lie)
		}
	}
	if dbfx.IsRetryable(err) {
		t.Error("an unknown commit is called retryable")
	}
}

func TestPostgres_LostCommitIsUnknown(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		act      fault
		wantRows int
	}{
		"ReplyLost":   {loseReply, 1},
		"RequestLost": {loseRequest, 0},
		"ReplyStalls": {stallReply, 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			app, direct, p := proxied(t, func(c *dbfx.Config) { c.CommitTimeout = 500 * time.Millisecond })
			p.on("commit", tt.act)
			calls, hooks := 0, 0
			err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
				calls++
				tx.AfterCommit(func(context.Context) { hooks++ })
				return put(ctx, tx, "a", 1)
			}, dbfx.Retry(dbfx.RetryPolicy{}))
			wantUnknown(t, err)
			if calls != 1 || hooks != 0 {
				t.Errorf("fn ran %d times and hooks %d, want 1 and 0", calls, hooks)
			}
			if tt.wantRows > 0 { // COMMIT_TIMEOUT may have ended before the server was done
				waitFor(t, direct, "select k from kv")
			}
			wantCount(t, direct, "a", tt.wantRows)
			if err := put(t.Context(), app.DB, "b", 1); err != nil {
				t.Error("afterwards:", err)
			}
		})
	}
}

func TestPostgres_IdempotentRepeatsAnUnknownCommit(t *testing.T) {
	t.Parallel()
	app, direct, p := proxied(t)
	p.on("commit", loseReply)
	calls := 0
	err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
		calls++
		_, err := tx.ExecContext(ctx, "insert into kv values ($1, 1) on conflict (k) do nothing", "a")
		return err
	}, dbfx.Retry(dbfx.RetryPolicy{}), dbfx.Idempotent())
	if err != nil || calls != 2 {
		t.Errorf("got %v after %d calls, want nil after 2", err, calls)
	}
	wantCount(t, direct, "a", 1)
}

// TestPostgres_AnUnknownCommitStaysUnknownWhenItsRepetitionFails: the rows of the
// first attempt are there, whatever the second one met.
func TestPostgres_AnUnknownCommitStaysUnknownWhenItsRepetitionFails(t *testing.T) {
	t.Parallel()
	tests := map[string]func(context.Context, *dbfx.Session) error{
		"FnFails": func(context.Context, *dbfx.Session) error { return errBoom },
		"RolledBack": func(ctx context.Context, tx *dbfx.Session) error {
			_, _ = tx.ExecContext(ctx, "insert into nothing values (1)")
			return nil
		},
		"ContextEnds": func(context.Context, *dbfx.Session) error { return context.DeadlineExceeded },
	}
	for name, second := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			app, direct, p := proxied(t)
			p.on("commit", loseReply)
			err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
				if tx.Attempt() > 1 {
					return second(ctx, tx)
				}
				return put(ctx, tx, "a", 1)
			}, dbfx.Retry(dbfx.RetryPolicy{}), dbfx.Idempotent())
			wantUnknown(t, err)
			if !contains(fmt.Sprint(err), "attempt 2") {
				t.Errorf("it does not say that it was repeated: %v", err)
			}
			wantCount(t, direct, "a", 1)
		})
	}
}

func TestPostgres_LostConnectionIsRepeatedOnlyIfIdempotent(t *testing.T) {
	t.Parallel()
	for _, idempotent := range []bool{false, true} {
		app, direct, p := proxied(t)
		p.on("lost-here", loseReply)
		calls := 0
		opts := []dbfx.SessionOption{dbfx.Retry(dbfx.RetryPolicy{})}
		if idempotent {
			opts = append(opts, dbfx.Idempotent())
		}
		err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
			calls++
			return put(ctx, tx, "lost-here", 1)
		}, opts...)
		if errors.Is(err, dbfx.ErrCommitUnknown) || (err == nil) != idempotent {
			t.Errorf("idempotent %t: got %v after %d calls", idempotent, err, calls)
		}
		wantCount(t, direct, "%", map[bool]int{false: 0, true: 1}[idempotent])
	}
}

func TestPostgres_ExecWhoseReplyIsLostRunsOnce(t *testing.T) {
	t.Parallel()
	app, direct, p := proxied(t)
	p.on("no-arguments", loseReply)
	if _, err := app.DB.ExecContext(t.Context(), "insert into kv values ('no-arguments-'||gen_random_uuid(), 1)"); err == nil {
		t.Error("the lost reply was not told")
	}
	wantCount(t, direct, "no-arguments%", 1)
	if err := put(t.Context(), app.DB, "after", 1); err != nil {
		t.Error(err)
	}
}

func TestPostgres_CommitThatWaitsForAStandby(t *testing.T) {
	t.Parallel()
	server := fxtest.NewServer(t, "synchronous_standby_names=nope", "synchronous_commit=local")
	ends := map[string]func(direct *fxtest.App){
		"CommitTimeout": func(*fxtest.App) {},
		"Terminated": func(direct *fxtest.App) {
			waitFor(t, direct, "select pg_terminate_backend(pid) from pg_stat_activity where wait_event = 'SyncRep' and datname = current_database()")
		},
		"Killed": func(direct *fxtest.App) {
			pid := waitFor(t, direct, "select pid from pg_stat_activity where wait_event = 'SyncRep' and datname = current_database()")
			var n int
			if _, err := fmt.Sscan(pid, &n); err == nil {
				_ = syscall.Kill(n, syscall.SIGKILL)
			}
		},
	}
	for _, name := range []string{"CommitTimeout", "Terminated", "Killed"} {
		t.Run(name, func(t *testing.T) {
			cfg := server.Database(t)
			cfg.CommitTimeout = time.Minute
			if name == "CommitTimeout" {
				cfg.CommitTimeout = 300 * time.Millisecond
			}
			app, direct := fxtest.New(t, fxtest.Use(cfg)), fxtest.New(t, fxtest.Use(cfg))
			if _, err := direct.DB.ExecContext(t.Context(), "create table kv (k text primary key, v integer)"); err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			go func() { defer close(done); ends[name](direct) }()
			err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
				if _, err := tx.ExecContext(ctx, "set local synchronous_commit = on"); err != nil {
					return err
				}
				return put(ctx, tx, "a", 1)
			})
			<-done
			wantUnknown(t, err)
			waitFor(t, direct, "select k from kv") // it is there, if not at once: the server may still recover
		})
	}
}

// waitFor runs query until it returns a row.
func waitFor(t *testing.T, app *fxtest.App, query string) (value string) {
	for until := time.Now().Add(2 * time.Minute); time.Now().Before(until); time.Sleep(5 * time.Millisecond) {
		if app.DB.QueryRowContext(context.Background(), query).Scan(&value) == nil {
			return value
		}
	}
	t.Error("nothing came of", query)
	return ""
}

func TestRun_DeferredConstraintAtCommitIsDefinite(t *testing.T) {
	eachApp(t, func(t *testing.T, app *fxtest.App) {
		ctx := t.Context()
		if _, err := app.DB.ExecContext(ctx, "create table child (k text references kv (k) deferrable initially deferred)"); err != nil {
			t.Fatal(err)
		}
		err := app.Sessions.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
			_, err := tx.ExecContext(ctx, "insert into child values ('nobody')")
			return err
		})
		if !dbfx.IsForeignKeyViolation(err) || errors.Is(err, dbfx.ErrCommitUnknown) {
			t.Errorf("got %v, want a foreign key violation", err)
		}
		if err := put(ctx, app.DB, "a", 1); err != nil {
			t.Error("the connection is not usable afterwards:", err)
		}
		wantIdle(t, app)
	})
}

func TestPostgres_SwallowedRowErrorIsRolledBack(t *testing.T) {
	t.Parallel()
	app := fxtest.New(t, fxtest.Use(fxtest.Postgres(t)))
	err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
		rows, err := tx.QueryContext(ctx, "select 1 / (3 - i) from generate_series(1, 5) i")
		if err != nil {
			return err
		}
		for rows.Next() {
		}
		_ = rows.Close()
		return nil
	})
	wantIs(t, err, dbfx.ErrRolledBack)
	if err == nil || !strings.Contains(err.Error(), "22012") {
		t.Errorf("got %v, want the division by zero in it", err)
	}
}

func TestPostgres_DeadIdleConnectionsAreReplacedBeforeFn(t *testing.T) {
	t.Parallel()
	cfg := fxtest.Postgres(t)
	app, direct := fxtest.New(t, fxtest.Use(cfg)), fxtest.New(t, fxtest.Use(cfg))
	for range 3 {
		warm(t, app, 5)
		_, err := direct.DB.ExecContext(t.Context(),
			"select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()")
		if err != nil {
			t.Fatal(err)
		}
		calls := 0
		for range 8 {
			err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
				calls++
				return tx.QueryRowContext(ctx, "select 1").Scan(new(int))
			})
			if err != nil {
				t.Error(err)
			}
		}
		if calls != 8 {
			t.Errorf("fn ran %d times, want 8", calls)
		}
	}
}

// warm opens n connections and gives them back.
func warm(t *testing.T, app *fxtest.App, n int) {
	t.Helper()
	for range n {
		conn, err := app.DB.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
	}
}

func TestPostgres_Restart(t *testing.T) {
	t.Parallel()
	server := fxtest.NewServer(t)
	app := fxtest.New(t, fxtest.Use(server.Database(t)))
	one := func() (calls int, err error) {
		err = app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
			calls++
			return tx.QueryRowContext(ctx, "select 1").Scan(new(int))
		})
		return calls, err
	}
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGQUIT} {
		warm(t, app, 5)
		server.Stop(t, signal)
		if calls, err := one(); err == nil || calls != 0 || errors.Is(err, dbfx.ErrCheckoutTimeout) {
			t.Errorf("while down: got %v after %d calls, want the refusal at once", err, calls)
		}
		server.Start(t)
		for range 10 {
			if calls, err := one(); err != nil || calls != 1 {
				t.Errorf("after the restart: got %v after %d calls", err, calls)
			}
		}
	}
}

func TestPostgres_StartWaitsForABootingServer(t *testing.T) {
	t.Parallel()
	server := fxtest.NewServer(t)
	cfg := server.Database(t)
	server.Stop(t, syscall.SIGINT)
	cfg.StartTimeout = 5 * time.Minute
	opened := make(chan error, 1)
	go func() {
		db, err := dbfx.Open(context.Background(), cfg)
		if err == nil {
			err = db.Close(context.Background())
		}
		opened <- err
	}()
	time.Sleep(300 * time.Millisecond) // let it be refused a few times
	server.Start(t)
	if err := <-opened; err != nil {
		t.Error(err)
	}
}

func TestPostgres_ConnectionLostInANestedScope(t *testing.T) {
	t.Parallel()
	cfg := fxtest.Postgres(t)
	app := fxtest.New(t, fxtest.Use(cfg))
	direct := fxtest.New(t, fxtest.Use(cfg))
	if _, err := app.DB.ExecContext(t.Context(), "create table kv (k text primary key, v integer)"); err != nil {
		t.Fatal(err)
	}
	err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
		if err := put(ctx, tx, "a", 1); err != nil {
			return err
		}
		_ = app.Sessions.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
			var pid int
			if err := tx.QueryRowContext(ctx, "select pg_backend_pid()").Scan(&pid); err != nil {
				return err
			}
			if _, err := direct.DB.ExecContext(ctx, "select pg_terminate_backend($1, 5000)", pid); err != nil {
				return err
			}
			return put(ctx, tx, "b", 1)
		})
		return nil
	})
	wantIs(t, err, dbfx.ErrRolledBack)
	wantCount(t, direct, "%", 0)
}

func TestPostgres_RollbackThatStallsIsBounded(t *testing.T) {
	t.Parallel()
	app, direct, p := proxied(t)
	p.on("rollback", stallReply)
	start := time.Now()
	err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
		if err := put(ctx, tx, "a", 1); err != nil {
			return err
		}
		return errBoom
	})
	wantIs(t, err, errBoom)
	if took := time.Since(start); took > time.Minute {
		t.Errorf("took %s", took)
	}
	wantCount(t, direct, "%", 0)
	if err := put(t.Context(), app.DB, "b", 1); err != nil {
		t.Error(err)
	}
}
