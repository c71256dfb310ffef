package fxtest_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

// bouncer starts a PgBouncer in front of cfg's server, with extra settings, and
// returns where it listens.
func bouncer(t *testing.T, cfg dbfx.Config, settings ...string) (port int) {
	t.Helper()
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		if program = "/usr/sbin/pgbouncer"; !exists(program) {
			if os.Getenv("CI") != "" {
				t.Fatal("pgbouncer is required here")
			}
			t.Skip("no pgbouncer; Debian has it as a package")
		}
	}
	port = fxtest.FreePort(t)
	fxtest.StartAs(t, program, func(dir string) []string {
		ini := filepath.Join(dir, "pgbouncer.ini")
		text := fmt.Sprintf(`[databases]
%s = host=%s port=%d user=%s password=%s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
default_pool_size = 4
max_client_conn = 200
logfile = %s/log
%s
`, cfg.Name, cfg.Host, cfg.Port, cfg.User, cfg.Password.Reveal(), port, dir, strings.Join(settings, "\n"))
		if err := os.WriteFile(ini, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return []string{ini}
	})
	return port
}

// TestPostgres_BehindPgBouncer: transaction mode, four connections to the server,
// sixteen workers.
func TestPostgres_BehindPgBouncer(t *testing.T) {
	t.Parallel()
	cfg := fxtest.Postgres(t)
	cfg.Port, cfg.Pooler, cfg.StatementTimeout = bouncer(t, cfg, "pool_mode = transaction"), "transaction", 10*time.Second
	app := fxtest.New(t, fxtest.Use(cfg)) // waits until it listens
	if _, err := app.DB.ExecContext(t.Context(), "create table kv (k text primary key, v integer)"); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Go(func() {
			for i := range 40 {
				key := fmt.Sprintf("%d-%d", w, i)
				if err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error { return put(ctx, tx, key, i) }); err != nil {
					t.Error("Run:", err)
				}
				if err := app.Sessions.View(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
					return tx.QueryRowContext(ctx, "select v from kv where k = $1", key).Scan(new(int))
				}); err != nil {
					t.Error("View:", err)
				}
				if err := app.DB.QueryRowContext(t.Context(), "select count(*) from kv where v >= $1", i).Scan(new(int)); err != nil {
					t.Error("bare:", err)
				}
			}
		})
	}
	wg.Wait()
	wantCount(t, app, "%", 16*40)
}

// TestPooler_WithoutAServerCostsTwoDialsAndSaysWhy: the pooler lives, and lets
// everyone in, while its server is down. One Run dialled 1,000 times.
func TestPooler_WithoutAServerCostsTwoDialsAndSaysWhy(t *testing.T) {
	t.Parallel()
	server := fxtest.NewServer(t)
	cfg := server.Database(t)
	door := doorTo(t, bouncer(t, cfg, "pool_mode = transaction", "server_login_retry = 1", "query_wait_timeout = 2"))
	door.open()
	cfg.Port, cfg.Pooler = door.port, "transaction"
	app := fxtest.New(t, fxtest.Use(cfg))
	warm(t, app, 20)
	server.Stop(t, syscall.SIGQUIT)
	work := map[string]func(context.Context) error{
		"Run":  func(ctx context.Context) error { return app.Sessions.Run(ctx, touch) },
		"View": func(ctx context.Context) error { return app.Sessions.View(ctx, touch) },
		"Exec": func(ctx context.Context) error { _, err := app.DB.ExecContext(ctx, "select 1"); return err },
		"Query": func(ctx context.Context) error {
			return app.DB.QueryRowContext(ctx, "select $1::int", 1).Scan(new(int))
		},
		"BeginTx": func(ctx context.Context) error { return beginBare(ctx, app) },
	}
	for name, call := range work {
		for range 3 {
			before := door.dials.Load()
			err := call(t.Context())
			if err == nil || !contains(err.Error(), "SQLSTATE 08P01") || contains(err.Error(), "bad connection") {
				t.Errorf("%s: got %v, want the pooler's reason", name, err)
			}
			if n := door.dials.Load() - before; n > 3 {
				t.Errorf("%s: %d dials", name, n)
			}
		}
	}
	server.Start(t)
	policy := dbfx.RetryPolicy{MaxAttempts: 1 << 20, Max: 50 * time.Millisecond}
	if err := app.Sessions.Run(t.Context(), touch, dbfx.Retry(policy), dbfx.Idempotent()); err != nil {
		t.Error("after its return:", err)
	}
	for name, call := range work {
		if err := call(t.Context()); err != nil {
			t.Errorf("%s after its return: %v", name, err)
		}
	}
}

// touch is a session's work that reaches the server.
func touch(ctx context.Context, tx *dbfx.Session) error {
	return tx.QueryRowContext(ctx, "select 1").Scan(new(int))
}

func beginBare(ctx context.Context, app *fxtest.App) error {
	tx, err := app.DB.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	return tx.QueryRowContext(ctx, "select 1").Scan(new(int))
}

func TestPooler_InStatementModeSaysSo(t *testing.T) {
	t.Parallel()
	cfg := fxtest.Postgres(t)
	door := doorTo(t, bouncer(t, cfg, "pool_mode = statement"))
	door.open()
	cfg.Port, cfg.Pooler = door.port, "transaction"
	app := fxtest.New(t, fxtest.Use(cfg))
	for range 3 {
		before := door.dials.Load()
		err := app.Sessions.Run(t.Context(), touch)
		if err == nil || !contains(err.Error(), "transaction blocks not allowed in statement pooling mode") {
			t.Errorf("got %v", err)
		}
		if n := door.dials.Load() - before; n > 3 {
			t.Errorf("%d dials", n)
		}
	}
}
