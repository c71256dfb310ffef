package fxtest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/fx"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

// selects runs n bare selects with c at a time and counts those that fail.
func selects(t *testing.T, app *fxtest.App, c, n int) (failed int64) {
	t.Helper()
	var bad atomic.Int64
	var wg sync.WaitGroup
	for range c {
		wg.Go(func() {
			for range n / c {
				if err := app.DB.QueryRowContext(context.Background(), "select 1").Scan(new(int)); err != nil {
					bad.Add(1)
				}
			}
		})
	}
	wg.Wait()
	return bad.Load()
}

// TestPostgres_NoRequestFailsAfterTheEvent: 30 warm connections, an event, and
// then requests. pgx's defaults fail up to 30 of them.
func TestPostgres_NoRequestFailsAfterTheEvent(t *testing.T) {
	t.Parallel()
	for _, preping := range []string{"auto", "always", "auto over TLS"} {
		t.Run(preping, func(t *testing.T) {
			t.Parallel()
			server := fxtest.NewServer(t)
			cfg := server.Database(t)
			mode, _, overTLS := strings.Cut(preping, " ")
			cfg.PoolPrePing = dbfx.PrePing(mode)
			if overTLS {
				cfg.DatabaseURL = dbfx.NewSecret(strings.Replace(cfg.URL(), "sslmode=disable", "sslmode=verify-full&sslrootcert="+server.EnableTLS(t), 1))
			}
			app, direct := fxtest.New(t, fxtest.Use(cfg)), fxtest.New(t, fxtest.Use(cfg))
			var encrypted bool
			if err := app.DB.QueryRowContext(t.Context(), "select ssl from pg_stat_ssl where pid = pg_backend_pid()").Scan(&encrypted); err != nil || encrypted != overTLS {
				t.Errorf("over TLS: %t, %v", encrypted, err)
			}
			events := map[string]func(){
				"fast restart":  func() { server.Stop(t, syscall.SIGINT); server.Start(t) },
				"crash restart": func() { server.Stop(t, syscall.SIGQUIT); server.Start(t) },
				"terminate all": func() {
					_, err := direct.DB.ExecContext(t.Context(), `select pg_terminate_backend(pid, 60000) from pg_stat_activity
						where datname = current_database() and pid <> pg_backend_pid()`)
					if err != nil {
						t.Error(err)
					}
				},
			}
			for name, event := range events {
				for _, idle := range []time.Duration{0, 1100 * time.Millisecond} {
					warm(t, app, 30)
					if bad := selects(t, app, 8, 80); bad > 0 {
						t.Fatalf("%d failed before the event", bad)
					}
					time.Sleep(idle)
					event()
					if bad := selects(t, app, 8, 200); bad > 0 {
						t.Errorf("%s after %s of idling: %d of 200 selects failed", name, idle, bad)
					}
					for range 20 {
						if err := app.Sessions.Run(t.Context(), selectOne); err != nil {
							t.Errorf("%s: %v", name, err)
						}
					}
				}
			}
		})
	}
}

func TestPostgres_SilentSocketsCostOnePing(t *testing.T) {
	t.Parallel()
	app, _, p := proxied(t, func(c *dbfx.Config) { c.PoolTimeout = time.Minute })
	warm(t, app, 10)
	p.strand() // what is open hears and says nothing any more; new connections work
	time.Sleep(1100 * time.Millisecond)
	start := time.Now()
	for range 20 {
		if err := app.Sessions.Run(t.Context(), selectOne); err != nil {
			t.Error(err)
		}
	}
	if took := time.Since(start); took > 15*time.Second { // ten pings of two seconds would be 20
		t.Errorf("took %s: each dead connection was waited for", took)
	}
}

// TestPostgres_RestartsUnderLoadLeaveNothing is not parallel: it counts what the
// whole process has open.
func TestPostgres_RestartsUnderLoadLeaveNothing(t *testing.T) {
	server := fxtest.NewServer(t)
	cfg := server.Database(t)
	goroutines, files := runtime.NumGoroutine(), openFiles(t)
	db, err := dbfx.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.DB().ExecContext(t.Context(), "create table kv (k text primary key, v integer)"); err != nil {
		t.Fatal(err)
	}
	var stop atomic.Bool
	var wg sync.WaitGroup
	var mu sync.Mutex
	acknowledged := map[string]bool{}
	for w := range 8 {
		wg.Go(func() {
			for i := 0; !stop.Load(); i++ {
				key := fmt.Sprintf("%d-%d", w, i)
				err := db.Sessions().Run(context.Background(), func(ctx context.Context, tx *dbfx.Session) error { return put(ctx, tx, key, 1) })
				if err == nil || errors.Is(err, dbfx.ErrCommitUnknown) {
					mu.Lock()
					acknowledged[key] = err == nil
					mu.Unlock()
				}
			}
		})
	}
	for range 20 {
		time.Sleep(20 * time.Millisecond)
		// A crash of a server with fsync=off may lose what it acknowledged; a fast stop may not.
		server.Stop(t, syscall.SIGINT)
		server.Start(t)
	}
	time.Sleep(50 * time.Millisecond)
	stop.Store(true)
	wg.Wait()
	if s := db.DB().Stats(); s.InUse != 0 {
		t.Errorf("%d connections are in use", s.InUse)
	}
	if err := db.Close(t.Context()); err != nil {
		t.Error(err)
	}
	app := fxtest.New(t, fxtest.Use(cfg))
	there, err := table(app)
	if err != nil {
		t.Fatal(err)
	}
	for key, sure := range acknowledged {
		if _, ok := there[key]; sure && !ok {
			t.Errorf("%s was acknowledged and is gone", key)
		}
	}
	for key := range there {
		if _, ok := acknowledged[key]; !ok {
			t.Errorf("%s is there, and Run said that it is not", key)
		}
	}
	t.Logf("%d rows through 20 restarts", len(there))
	waitFor(t, app, "select 'none' from pg_stat_activity where datname = current_database() having count(*) <= 2")
	if err := app.Stop(context.Background()); err != nil {
		t.Error(err)
	}
	for deadline := time.Now().Add(time.Minute); runtime.NumGoroutine() > goroutines+2 || openFiles(t) > files+2; {
		if time.Now().After(deadline) {
			t.Fatalf("goroutines grew from %d to %d, open files from %d to %d", goroutines, runtime.NumGoroutine(), files, openFiles(t))
		}
		time.Sleep(time.Millisecond)
	}
}

func TestPostgres_RawReachesPgx(t *testing.T) {
	t.Parallel()
	app := fxtest.New(t, fxtest.Use(fxtest.Postgres(t)))
	if _, err := app.DB.ExecContext(t.Context(), "create table kv (k text primary key, v integer)"); err != nil {
		t.Fatal(err)
	}
	conn, err := app.DB.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	err = conn.Raw(func(driverConn any) error {
		c := driverConn.(interface{ Conn() *pgx.Conn }).Conn()
		_, err := c.CopyFrom(t.Context(), pgx.Identifier{"kv"}, []string{"k", "v"}, pgx.CopyFromRows([][]any{{"a", 1}, {"b", 2}}))
		return err
	})
	if err != nil {
		t.Error(err)
	}
	wantCount(t, app, "%", 2)
}

func TestPostgres_FirstComeFirstServed(t *testing.T) {
	t.Parallel()
	cfg := fxtest.Postgres(t)
	tight(&cfg)
	cfg.PoolTimeout = time.Minute
	app := fxtest.New(t, fxtest.Use(cfg))
	release := hold(t, app)
	var mu sync.Mutex
	var order []int
	var wg sync.WaitGroup
	for i := range 20 {
		started := make(chan struct{})
		wg.Go(func() {
			close(started)
			if err := app.Sessions.View(t.Context(), func(context.Context, *dbfx.Session) error {
				mu.Lock()
				defer mu.Unlock()
				order = append(order, i)
				return nil
			}); err != nil {
				t.Error(err)
			}
		})
		<-started
		eventually(t, "it stands in the queue", func() bool { return app.Sessions.Stats().Waiting == i+1 })
	}
	_ = release() // the table is missing, which is not the point
	wg.Wait()
	late := 0
	for i, who := range order {
		if who > i+1 || who < i-1 {
			late++
		}
	}
	if late > 8 { // of 20; database/sql's random choice makes about 17 of them late
		t.Errorf("served in the order %v", order)
	}
}

func TestRenew_ReplacesEveryConnectionAndCutsNone(t *testing.T) {
	eachApp(t, func(t *testing.T, app *fxtest.App) {
		if app.Config.Dialect() == dbfx.SQLite {
			t.Skip("sqlite: TestRenew_ReplacesTheRealConnections counts SQLite's own")
		}
		err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
			if err := put(ctx, tx, "a", 1); err != nil {
				return err
			}
			warm(t, app, 1)
			before := app.DB.Stats().OpenConnections
			app.Sessions.Renew()
			if n := app.DB.Stats(); before < 2 || n.OpenConnections != 1 || n.Idle != 0 {
				t.Errorf("%d connections before, then %+v", before, n)
			}
			return put(ctx, tx, "b", 1)
		})
		if err != nil {
			t.Error(err)
		}
		if n := app.DB.Stats().OpenConnections; n != 0 {
			t.Errorf("%d connections are older than the renewal", n)
		}
		wantCount(t, app, "%", 2)
	})
}

func TestPostgres_PasswordSourceRotates(t *testing.T) {
	t.Parallel()
	cfg := fxtest.Postgres(t)
	admin := fxtest.New(t, fxtest.Use(cfg))
	role := fmt.Sprintf("rotating_%d", time.Now().UnixNano())
	if _, err := admin.DB.ExecContext(t.Context(), "create role "+role+" login password 'old'"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = admin.DB.ExecContext(context.Background(), "drop role "+role) })
	var asked atomic.Int64
	var answer atomic.Value
	answer.Store("old")
	cfg.User, cfg.Password = role, dbfx.NewSecret("not this one")
	app := fxtest.New(t, fxtest.Use(cfg), fx.Supply(dbfx.PasswordSource(func(context.Context) (string, error) {
		if n := asked.Add(1); n == 3 { // the cache is stale once
			return "old", nil
		}
		return answer.Load().(string), nil
	})))
	if asked.Load() != 1 {
		t.Errorf("asked %d times for one connection", asked.Load())
	}
	conn, err := app.DB.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := admin.DB.ExecContext(t.Context(), "alter role "+role+" password 'new'"); err != nil {
		t.Fatal(err)
	}
	answer.Store("new")
	asked.Store(2)
	if err := app.DB.PingContext(t.Context()); err != nil { // a second connection
		t.Error(err)
	}
	if asked.Load() != 4 {
		t.Errorf("asked %d times, want once more after the refusal", asked.Load()-2)
	}
	if err := conn.PingContext(t.Context()); err != nil {
		t.Error("the open connection:", err)
	}
}

func TestPostgres_TimeoutsAreTheServers(t *testing.T) {
	t.Parallel()
	for _, pooler := range []dbfx.Pooler{dbfx.PoolerOff, dbfx.PoolerTransaction} {
		cfg := fxtest.Postgres(t)
		cfg.Pooler, cfg.StatementTimeout, cfg.LockTimeout, cfg.IdleInTransactionTimeout = pooler, 90500*time.Millisecond, 2*time.Minute, 3*time.Minute
		app := fxtest.New(t, fxtest.Use(cfg))
		err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
			var got string
			query := `select current_setting('statement_timeout') || ' ' || current_setting('lock_timeout') || ' ' || current_setting('idle_in_transaction_session_timeout')`
			if err := tx.QueryRowContext(ctx, query).Scan(&got); err != nil {
				return err
			}
			if got != "90500ms 2min 3min" {
				t.Errorf("POOLER=%s: got %s", pooler, got)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func TestPostgres_PoolSettingsMeanWhatSQLAlchemySays(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		change   func(*dbfx.Config)
		wantMax  int
		wantSame bool // two uses have one connection
	}{
		"Default":      {func(*dbfx.Config) {}, 30, true},
		"NoOverflow":   {func(c *dbfx.Config) { c.PoolSize, c.MaxOverflow = 5, 0 }, 5, true},
		"SizeZero":     {func(c *dbfx.Config) { c.PoolSize = 0 }, 0, true},
		"Unlimited":    {func(c *dbfx.Config) { c.MaxOverflow = -1 }, 0, true},
		"NoPool":       {func(c *dbfx.Config) { c.TokenPersistenceEnabled = false }, 0, false},
		"RecycleZero":  {func(c *dbfx.Config) { c.PoolRecycle = 0 }, 30, false},
		"RecycleNever": {func(c *dbfx.Config) { c.PoolRecycle = dbfx.Forever }, 30, true},
		"RecycleShort": {func(c *dbfx.Config) { c.PoolRecycle = time.Millisecond }, 30, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := fxtest.Postgres(t)
			tt.change(&cfg)
			app := fxtest.New(t, fxtest.Use(cfg))
			pid := func() (pid int) {
				if err := app.DB.QueryRowContext(t.Context(), "select pg_backend_pid() from pg_sleep(0.01)").Scan(&pid); err != nil {
					t.Error(err)
				}
				return pid
			}
			if max := app.DB.Stats().MaxOpenConnections; max != tt.wantMax {
				t.Errorf("at most %d connections, want %d", max, tt.wantMax)
			}
			first, second := pid(), pid()
			if same := first == second; same != tt.wantSame {
				t.Errorf("two uses have one connection: %t", same)
			}
		})
	}
}

func TestPostgres_BadCertificateFailsAtOnce(t *testing.T) {
	t.Parallel()
	server, stranger := fxtest.NewServer(t), fxtest.NewServer(t)
	cfg := server.Database(t)
	own, other := server.EnableTLS(t), stranger.EnableTLS(t)
	open := func(host, authority string) error {
		at := cfg
		at.StartTimeout = time.Minute
		at.DatabaseURL = dbfx.NewSecret(fmt.Sprintf("postgresql://%s:%s@%s:%d/%s?sslmode=verify-full&sslrootcert=%s",
			cfg.User, cfg.Password.Reveal(), host, cfg.Port, cfg.Name, authority))
		db, err := dbfx.Open(t.Context(), at)
		if err == nil {
			err = db.Close(t.Context())
		}
		return err
	}
	if err := open("127.0.0.1", own); err != nil {
		t.Error("the right certificate:", err)
	}
	start := time.Now()
	for name, err := range map[string]error{"another authority": open("127.0.0.1", other), "another name": open("localhost", own)} {
		if err == nil || !contains(err.Error(), "sslrootcert") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("took %s: it was tried again", took)
	}
}
