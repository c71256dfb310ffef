package fxtest_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
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
	port = fxtest.FreePort(t)
	bouncerAt(t, port, cfg, settings...)
	return port
}

func bouncerAt(t *testing.T, port int, cfg dbfx.Config, settings ...string) {
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
			before, start := door.dials.Load(), time.Now()
			err := call(t.Context())
			if err == nil || !contains(err.Error(), "SQLSTATE 08P01") || contains(err.Error(), "bad connection") {
				t.Errorf("%s: got %v, want the pooler's reason", name, err)
			}
			// The monitor asks once a second too, which a machine that stands still adds up.
			most := 3 + max(0, pings(start)-pings(time.Now().Add(-5*time.Second)))
			if n := door.dials.Load() - before; n > int64(most) {
				t.Errorf("%s: %d dials, want at most %d", name, n, most)
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

// TestPooler_NothingRunsOutsideOfItsTransaction: PgBouncer gives the client's place at
// the server away when ROLLBACK is answered, and what follows arrives in pieces. A
// BEGIN that was sent meanwhile went to one server and its statement to another, which
// committed it.
func TestPooler_NothingRunsOutsideOfItsTransaction(t *testing.T) {
	t.Parallel()
	cfg := fxtest.Postgres(t)
	direct := fxtest.New(t, fxtest.Use(cfg))
	if _, err := direct.DB.ExecContext(t.Context(), "create table kv (k text primary key, v integer)"); err != nil {
		t.Fatal(err)
	}
	behind, slow := fxtest.Proxy(t, cfg)
	parsed, err := url.Parse(behind.URL())
	if err != nil {
		t.Fatal("the URL of the line")
	}
	behind = cfg
	if behind.Port, err = strconv.Atoi(parsed.Port()); err != nil {
		t.Fatal(err)
	}
	cfg.Port, cfg.Pooler = trickle(t, bouncer(t, behind, "pool_mode = transaction", "server_round_robin = 1"), 4*time.Millisecond), "transaction"
	slow.Delay(15 * time.Millisecond)
	cfg.PoolSize, cfg.MaxOverflow = 2, 0
	app := fxtest.New(t, fxtest.Use(cfg))
	if err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error { // makes PgBouncer open two
		return errors.Join(selectOne(ctx, tx), app.DB.QueryRowContext(context.WithoutCancel(ctx), "select 1").Scan(new(int)))
	}); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		if err := app.Sessions.View(t.Context(), selectOne); err != nil {
			t.Fatal("View:", err)
		}
		err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
			return errors.Join(put(ctx, tx, "denied", i), errBoom)
		})
		if !errors.Is(err, errBoom) || contains(err.Error(), "unexpected") {
			t.Error("Run:", err)
		}
	}
	wantCount(t, direct, "denied", 0)
}

// trickle is a line to a port on which each message of the client's arrives a while
// after the one before.
func trickle(t *testing.T, port int, pause time.Duration) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() { _ = listener.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
			if err != nil {
				_ = client.Close()
				continue
			}
			wg.Go(func() { _, _ = io.Copy(client, server); _ = client.Close() })
			wg.Go(func() { pour(server, client, pause); _ = server.Close() })
		}
	})
	return listener.Addr().(*net.TCPAddr).Port
}

func pour(to io.Writer, from io.Reader, pause time.Duration) {
	for header := 4; ; header = 5 { // the first message has no type
		head := make([]byte, header)
		if _, err := io.ReadFull(from, head); err != nil {
			return
		}
		body := make([]byte, binary.BigEndian.Uint32(head[header-4:])-4)
		if _, err := io.ReadFull(from, body); err != nil {
			return
		}
		time.Sleep(pause)
		if _, err := to.Write(append(head, body...)); err != nil {
			return
		}
	}
}
