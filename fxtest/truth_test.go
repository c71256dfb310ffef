package fxtest_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

// raw runs a text past the Session, where no scanner reads it.
func raw(ctx context.Context, tx *dbfx.Session, text string) error {
	return tx.Raw(func(conn any) error {
		_, err := conn.(interface{ Conn() *pgx.Conn }).Conn().Exec(ctx, text)
		return err
	})
}

// postgres returns an application with the table kv.
func postgres(t *testing.T, change ...func(*dbfx.Config)) *fxtest.App {
	t.Helper()
	cfg := fxtest.Postgres(t)
	for _, f := range change {
		f(&cfg)
	}
	app := fxtest.New(t, fxtest.Use(cfg))
	if _, err := app.DB.ExecContext(t.Context(), "create table kv (k text primary key, v integer not null check (v >= 0))"); err != nil {
		t.Fatal(err)
	}
	return app
}

// TestPostgres_TagsSayWhatARawTextDid: nothing is refused in front, and Run still
// tells the truth.
func TestPostgres_TagsSayWhatARawTextDid(t *testing.T) {
	t.Parallel()
	app := postgres(t)
	tests := []struct {
		text    string
		unknown bool // a COMMIT has passed
		whole   bool // it is legal
	}{
		{text: "commit", unknown: true}, {text: "select 1; commit; begin", unknown: true}, {text: "commit and chain", unknown: true},
		{text: "insert into kv values ('inner', 1); commit; begin", unknown: true},
		{text: "rollback"}, {text: "rollback; begin"}, {text: "rollback and chain"}, {text: "savepoint a; rollback to a; rollback; begin"},
		{text: "select 1; rollback to nowhere; commit; begin"},
		{text: "savepoint a; rollback to a", whole: true}, {text: "do $$ begin perform 1; end $$", whole: true},
	}
	for _, tt := range tests {
		for _, fnErr := range []error{nil, errBoom} {
			err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
				if err := put(ctx, tx, "before", 1); err != nil {
					return err
				}
				_ = raw(ctx, tx, tt.text)
				_ = put(ctx, tx, "after", 1)
				_, _ = tx.SQLTx().ExecContext(ctx, "insert into kv values ('later', 1)")
				return fnErr
			})
			rows := count(t, app, "%")
			if errors.Is(err, dbfx.ErrCommitUnknown) != tt.unknown || err != nil && !tt.unknown && rows > 0 || err == nil && rows != 3 {
				t.Errorf("%q, fn returns %v: Run says %v with %d rows there", tt.text, fnErr, err, rows)
			}
			if (err == nil) != (tt.whole && fnErr == nil) {
				t.Errorf("%q, fn returns %v: got %v", tt.text, fnErr, err)
			}
			if _, err := app.DB.ExecContext(t.Context(), "delete from kv"); err != nil {
				t.Fatal(err)
			}
		}
	}
	wantIdle(t, app)
}

// TestPostgres_AFailedRollbackToHidesNoRollback: the tag of a ROLLBACK TO is that of
// a ROLLBACK, and one that has failed has none.
func TestPostgres_AFailedRollbackToHidesNoRollback(t *testing.T) {
	t.Parallel()
	app := postgres(t)
	for name, texts := range map[string][]string{
		"rolled back":           {"rollback to nowhere", "rollback"},
		"and chained":           {"rollback to nowhere", "rollback and chain"},
		"several":               {"rollback to nowhere; rollback to nowhere", "rollback; begin"},
		"in another request":    {"savepoint a; rollback to nowhere; rollback to a", "rollback; begin"},
		"in a block":            {"do $$ begin rollback to a; exception when others then null; end $$", "rollback; begin"},
		"of a routine":          {"savepoint a", "do $$ begin begin perform 1/0; exception when others then null; end; end $$", "rollback; begin"},
		"before, and in excess": {"rollback; begin; savepoint a; rollback to a"},
	} {
		err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
			if err := put(ctx, tx, "before", 1); err != nil {
				return err
			}
			_ = tx.Raw(func(conn any) error {
				for _, text := range texts {
					_, _ = conn.(interface{ Conn() *pgx.Conn }).Conn().Exec(ctx, text)
				}
				return nil
			})
			_ = put(ctx, tx, "after", 1)
			return nil
		})
		if rows := count(t, app, "%"); err == nil || errors.Is(err, dbfx.ErrCommitUnknown) || rows > 0 {
			t.Errorf("%s: Run says %v with %d rows there", name, err, rows)
		}
		if _, err := app.DB.ExecContext(t.Context(), "delete from kv"); err != nil {
			t.Fatal(err)
		}
	}
	wantIdle(t, app)
}

// TestPostgres_ARollbackToIsLegal however it is sent.
func TestPostgres_ARollbackToIsLegal(t *testing.T) {
	t.Parallel()
	app := postgres(t)
	err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
		if err := put(ctx, tx, "a", 1); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "savepoint s; savepoint u; rollback to u; rollback to s"); err != nil {
			return err
		}
		rows, err := tx.QueryContext(ctx, "rollback to s")
		if err != nil {
			return err
		}
		_ = rows.Close()
		stmt, err := tx.PrepareContext(ctx, "rollback to s")
		if err != nil {
			return err
		}
		for range 3 {
			if _, err := stmt.ExecContext(ctx); err != nil {
				return err
			}
		}
		return tx.Raw(func(conn any) error {
			c := conn.(interface{ Conn() *pgx.Conn }).Conn()
			batch := &pgx.Batch{}
			for range 3 {
				batch.Queue("rollback to s")
			}
			rows, _ := c.Query(ctx, "rollback to s")
			rows.Close()
			_, err := c.Exec(ctx, "rollback to s", pgx.QueryExecModeCacheStatement)
			return errors.Join(rows.Err(), err, c.SendBatch(ctx, batch).Close())
		})
	})
	if err != nil {
		t.Error(err)
	}
	wantCount(t, app, "%", 1)
}

// TestPostgres_LeavingStaysTrueWhenTheConnectionIsLost: the row is there.
func TestPostgres_LeavingStaysTrueWhenTheConnectionIsLost(t *testing.T) {
	t.Parallel()
	for name, reply := range map[string]bool{"AfterTheReply": true, "BeforeTheReply": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			app, direct, p := proxied(t)
			if !reply {
				p.on("commit", loseReply)
			}
			err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
				err := raw(ctx, tx, "insert into kv values ('a', 1); commit")
				p.cut()
				_ = put(ctx, tx, "b", 1)
				return err
			})
			wantUnknown(t, err)
			wantCount(t, direct, "%", 1)
		})
	}
}

// TestPostgres_AStatementPreparedOutsideKeepsTheRules of the session that runs it.
func TestPostgres_AStatementPreparedOutsideKeepsTheRules(t *testing.T) {
	t.Parallel()
	app := postgres(t, func(c *dbfx.Config) { c.PoolSize, c.MaxOverflow = 1, 0 })
	stmt, err := app.DB.PrepareContext(t.Context(), "commit and chain")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stmt.Close() }()
	err = app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
		if err := put(ctx, tx, "a", 1); err != nil {
			return err
		}
		if _, err := tx.SQLTx().StmtContext(ctx, stmt).ExecContext(ctx); err == nil {
			t.Error("it ran")
		}
		return errBoom
	})
	if errors.Is(err, dbfx.ErrCommitUnknown) {
		t.Errorf("got %v", err)
	}
	wantCount(t, app, "%", 0)
}

// TestRun_AHarmlessErrorDoesNotHideTheLaterOne: an argument that no driver can
// encode, and then a violated check.
func TestRun_AHarmlessErrorDoesNotHideTheLaterOne(t *testing.T) {
	eachApp(t, func(t *testing.T, app *fxtest.App) {
		err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
			if _, err := tx.ExecContext(ctx, "insert into kv values ($1, 1)", func() {}); err == nil {
				t.Error("a function was stored")
			}
			_ = put(ctx, tx, "a", -1)
			return nil
		})
		if !errors.Is(err, dbfx.ErrRolledBack) || !dbfx.IsCheckViolation(err) {
			t.Errorf("got %v, want the check's violation", err)
		}
	})
}

func TestPostgres_AHarmlessErrorDoesNotStopRetry(t *testing.T) {
	t.Parallel()
	app := postgres(t)
	attempts := 0
	err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
		attempts++
		_, _ = tx.ExecContext(ctx, "insert into kv values ($1, 1)", func() {})
		_, _ = tx.ExecContext(ctx, "do $$ begin raise exception 'later' using errcode = '40001'; end $$")
		return errBoom
	}, dbfx.Retry(dbfx.RetryPolicy{MaxAttempts: 3, Max: time.Millisecond}))
	if !errors.Is(err, errBoom) || attempts != 3 {
		t.Errorf("got %v after %d attempts, want 3", err, attempts)
	}
}

// backendGone waits until the server has ended the process.
func backendGone(t *testing.T, app *fxtest.App, pid int) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; {
		var n int
		if err := app.DB.QueryRowContext(t.Context(), "select count(*) from pg_stat_activity where pid = $1", pid).Scan(&n); err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the server's process is still there")
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// TestPostgres_AFarewellBeforeCommitMeansRolledBack: it lies in the socket when
// COMMIT is to be sent.
func TestPostgres_AFarewellBeforeCommitMeansRolledBack(t *testing.T) {
	t.Parallel()
	for name, farewell := range map[string]func(t *testing.T, tx *dbfx.Session, direct *fxtest.App, pid int){
		"Terminated": func(t *testing.T, _ *dbfx.Session, direct *fxtest.App, pid int) {
			if _, err := direct.DB.ExecContext(t.Context(), "select pg_terminate_backend($1)", pid); err != nil {
				t.Error(err)
			}
		},
		"Idle": func(t *testing.T, tx *dbfx.Session, _ *fxtest.App, _ int) {
			if _, err := tx.ExecContext(t.Context(), "set local idle_in_transaction_session_timeout = 1"); err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			app := postgres(t)
			direct := fxtest.New(t, fxtest.Use(app.Config))
			err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
				var pid int
				if err := tx.QueryRowContext(ctx, "select pg_backend_pid()").Scan(&pid); err != nil {
					return err
				}
				if err := put(ctx, tx, "a", 1); err != nil {
					return err
				}
				farewell(t, tx, direct, pid)
				backendGone(t, direct, pid)
				return nil
			})
			if err == nil || errors.Is(err, dbfx.ErrCommitUnknown) {
				t.Errorf("got %v, want an error that is known", err)
			}
			wantCount(t, direct, "%", 0)
		})
	}
}

// TestPostgres_ACancelledWaitForTheStandbyIsUnknown: COMMIT succeeds with a
// warning only.
func TestPostgres_ACancelledWaitForTheStandbyIsUnknown(t *testing.T) {
	t.Parallel()
	server := fxtest.NewServer(t, "synchronous_standby_names=nobody", "synchronous_commit=local")
	cfg := server.Database(t)
	cfg.CommitTimeout = time.Minute
	app := fxtest.New(t, fxtest.Use(cfg))
	direct := fxtest.New(t, fxtest.Use(cfg))
	if _, err := direct.DB.ExecContext(t.Context(), "create table kv (k text primary key, v integer)"); err != nil {
		t.Fatal(err)
	}
	ended, cancelled := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(cancelled)
		for {
			var n int
			err := direct.DB.QueryRowContext(t.Context(), "select count(pg_cancel_backend(pid)) from pg_stat_activity where wait_event = 'SyncRep'").Scan(&n)
			if err != nil || n > 0 {
				return
			}
			select {
			case <-ended:
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
	err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
		if _, err := tx.ExecContext(ctx, "set local synchronous_commit = on"); err != nil {
			return err
		}
		return put(ctx, tx, "a", 1)
	})
	close(ended)
	<-cancelled
	wantUnknown(t, err)
	if err == nil || !strings.Contains(err.Error(), "standby") {
		t.Errorf("got %v, want the standby in it", err)
	}
}

// TestRun_AnUnknownCommitElsewhereIsNotItsOwn: fn returns that of another database.
func TestRun_AnUnknownCommitElsewhereIsNotItsOwn(t *testing.T) {
	eachApp(t, func(t *testing.T, app *fxtest.App) {
		other := &dbfx.CommitUnknownError{Err: errBoom}
		for _, nested := range []bool{false, true} {
			attempts := 0
			fn := func(ctx context.Context, tx *dbfx.Session) error {
				attempts++
				if err := put(ctx, tx, "a", 1); err != nil {
					return err
				}
				return other
			}
			err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
				if nested {
					return app.Sessions.Run(ctx, fn)
				}
				return fn(ctx, tx)
			}, dbfx.Retry(dbfx.RetryPolicy{}), dbfx.Idempotent())
			var unknown *dbfx.CommitUnknownError
			if errors.Is(err, dbfx.ErrCommitUnknown) || errors.As(err, &unknown) {
				t.Errorf("nested %t: it claims to be unknown: %v", nested, err)
			}
			wantIs(t, err, errBoom)
			if attempts != 1 || !strings.Contains(err.Error(), other.Error()) {
				t.Errorf("nested %t: got %v after %d attempts", nested, err, attempts)
			}
		}
		wantCount(t, app, "%", 0)
	})
}
