package fxtest_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

// verdict is what the three questions answer.
type verdict struct {
	class                string
	unavailable, timeout bool
}

func wantVerdict(t *testing.T, what string, err error, want verdict) {
	t.Helper()
	got := verdict{dbfx.ErrorClass(err), dbfx.IsUnavailable(err), dbfx.IsTimeout(err)}
	if err == nil || got != want {
		t.Errorf("%s: got %+v, want %+v: %v", what, got, want, err)
	}
}

// openOne opens cfg with a pool of one connection.
func openOne(t *testing.T, cfg dbfx.Config) *dbfx.Database {
	t.Helper()
	cfg.PoolSize, cfg.MaxOverflow, cfg.SQLiteBusyTimeout = 1, 0, 50*time.Millisecond
	d, err := dbfx.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close(context.Background()) })
	return d
}

func bump(ctx context.Context, tx *dbfx.Session) error {
	_, err := tx.ExecContext(ctx, "update kv set v = v + 1")
	return err
}

func TestErrors_UnavailableAndTimeoutOnBothEngines(t *testing.T) {
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		cfg.LockTimeout, cfg.PoolTimeout = 50*time.Millisecond, 5*time.Minute
		d := openOne(t, cfg)
		ctx := t.Context()
		if _, err := d.DB().ExecContext(ctx, "create table kv (v integer check (v < 100)); insert into kv values (1)"); err != nil {
			t.Fatal(err)
		}
		run := func(fn func(context.Context, *dbfx.Session) error, opts ...dbfx.SessionOption) error {
			return d.Sessions().Run(ctx, fn, opts...)
		}
		wait := func(ctx context.Context, _ *dbfx.Session) error { <-ctx.Done(); return ctx.Err() }

		release := fxtest.Hold(t, cfg)
		err := run(bump)
		release()
		if cfg.Dialect() == dbfx.SQLite && errors.Is(err, dbfx.ErrCheckoutTimeout) {
			t.Errorf("the lock of another process counts as a full pool: %v", err)
		}
		wantVerdict(t, "a lock", err, verdict{"busy", false, true})
		wantVerdict(t, "a context's deadline", run(wait, dbfx.Timeout(time.Millisecond)), verdict{"timeout", false, true})
		ended, cancel := context.WithCancel(ctx)
		cancel()
		wantVerdict(t, "a cancelled context", d.Sessions().Run(ended, bump), verdict{"canceled", false, false})
		wantVerdict(t, "a constraint", run(func(ctx context.Context, tx *dbfx.Session) error {
			_, err := tx.ExecContext(ctx, "update kv set v = 100")
			return err
		}), verdict{"constraint", false, false})
		wantVerdict(t, "fn's own", run(func(context.Context, *dbfx.Session) error { return errBoom }), verdict{"error", false, false})
		cfg.PoolTimeout = 100 * time.Millisecond
		short := openOne(t, cfg).Sessions()
		var full error
		begun := false
		eventually(t, "a session has the only connection that writes", func() bool {
			err := short.Run(ctx, func(context.Context, *dbfx.Session) error {
				begun, full = true, short.Run(short.Detach(ctx), bump)
				return nil
			})
			return begun || !errors.Is(err, dbfx.ErrCheckoutTimeout)
		})
		wantVerdict(t, "a full pool", full, verdict{"pool full", true, true})

		if err := d.Close(ctx); err != nil {
			t.Fatal(err)
		}
		wantVerdict(t, "closed", run(bump), verdict{"closed", true, false})
		wantVerdict(t, "closed, bare", d.DB().PingContext(ctx), verdict{"closed", true, false})
	})
}

func TestErrors_AnUnknownCommitIsNeitherUnavailableNorATimeout(t *testing.T) {
	t.Parallel()
	err := &dbfx.CommitUnknownError{Err: &net.OpError{Op: "read", Err: syscall.ECONNRESET}}
	wantVerdict(t, "an unknown commit", err, verdict{"commit unknown", false, false})
	if dbfx.IsUnavailable(nil) || dbfx.IsTimeout(nil) || dbfx.ErrorClass(nil) != "" {
		t.Error("nil is an error")
	}
}

// TestErrors_AServerInAnotherRole: a failover is under way.
func TestErrors_AServerInAnotherRole(t *testing.T) {
	t.Parallel()
	err := fmt.Errorf("orders: %w", errors.Join(errBoom, pgconn.ErrReadOnlyConnection))
	wantVerdict(t, "another role", err, verdict{"wrong role", true, false})
}

func TestErrors_SQLiteThatCannotBeOpened(t *testing.T) {
	t.Parallel()
	cfg := fxtest.SQLite(t)
	d := openOne(t, cfg)
	_, err := d.DB().ExecContext(t.Context(), "attach $1 as other", t.TempDir()+"/no/such.db")
	wantVerdict(t, "a missing directory", err, verdict{"cannot open", true, false})
}

func TestErrors_PostgresThatIsNotThere(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	silent := listener.Addr().(*net.TCPAddr).Port // takes connections and says nothing
	defer func() { _ = listener.Close() }()
	refused := fxtest.FreePort(t)
	tests := []struct {
		name, host string
		port       int
		want       verdict
	}{
		{"refused", "127.0.0.1", refused, verdict{"refused", true, false}},
		{"no such host", "nowhere.invalid", 5432, verdict{"dns", true, false}},
		{"silent", "127.0.0.1", silent, verdict{"timeout", true, true}},
	}
	for _, tt := range tests {
		cfg := dbfx.DefaultConfig()
		cfg.Host, cfg.Port, cfg.Password = tt.host, tt.port, dbfx.NewSecret("x")
		cfg.StartTimeout, cfg.ConnectTimeout = 3*time.Second, time.Minute
		if tt.want.timeout {
			cfg.ConnectTimeout = 100 * time.Millisecond
		}
		_, err := dbfx.Open(t.Context(), cfg)
		wantVerdict(t, tt.name, err, tt.want)
	}
}

func TestErrors_PostgresRefusesAndShutsDown(t *testing.T) {
	t.Parallel()
	server := fxtest.NewServer(t)
	cfg := server.Database(t)
	cfg.StatementTimeout, cfg.StartTimeout = time.Second, 3*time.Second
	d := openOne(t, cfg)
	ctx := t.Context()
	_, err := d.DB().ExecContext(ctx, "select pg_sleep(60)")
	wantVerdict(t, "statement_timeout", err, verdict{"timeout", false, true})
	if _, err := d.DB().ExecContext(ctx, "create role few login password 'x' connection limit 0"); err != nil {
		t.Fatal(err)
	}
	few := cfg
	few.Host, few.Port, few.User, few.Password, few.Name, few.DatabaseURL = "127.0.0.1", server.Port(), "few", dbfx.NewSecret("x"), cfg.Name, dbfx.Secret{}
	few.SSLMode = dbfx.SSLModeDisable
	_, err = dbfx.Open(ctx, few)
	wantVerdict(t, "too many connections", err, verdict{"too many connections", true, false})

	err = d.Sessions().Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
		if _, err := tx.ExecContext(ctx, "select 1"); err != nil {
			return err
		}
		server.Signal(t, syscall.SIGTERM) // waits for this session, and lets nobody in
		for {
			var other *dbfx.Database
			if other, err = dbfx.Open(ctx, cfg); err != nil {
				break
			}
			_ = other.Close(ctx)
		}
		wantVerdict(t, "shutting down, for a new one", err, verdict{"starting", true, false})
		server.Stop(t, syscall.SIGINT)
		_, err := tx.ExecContext(ctx, "select 1")
		return err
	})
	wantVerdict(t, "shut down under a session", err, verdict{"lost", true, false})
	server.Start(t) // its database is dropped at the end
}
