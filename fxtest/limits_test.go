package fxtest_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

// newRole makes a role with these attributes and returns cfg for it.
func newRole(t *testing.T, cfg dbfx.Config, password, attributes string) dbfx.Config {
	t.Helper()
	admin := open(t, cfg) // a connection of its own has the settings of now
	role := fmt.Sprintf("role_%d", time.Now().UnixNano())
	for _, statement := range []string{
		fmt.Sprintf("create role %s login password '%s' %s", role, password, attributes),
		fmt.Sprintf("grant all on schema public to %s", role),
	} {
		if _, err := admin.DB().ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	cfg.User, cfg.Password = role, dbfx.NewSecret(password)
	return cfg
}

// TestPostgres_ARefusedGrowthWaitsForAConnection: the role may have three, and the
// pool would have thirty. 82 of 1,334 calls failed with 53300 at once.
func TestPostgres_ARefusedGrowthWaitsForAConnection(t *testing.T) {
	t.Parallel()
	server := fxtest.NewServer(t)
	cfg := newRole(t, server.Database(t), "secret", "connection limit 3")
	cfg.PoolTimeout = 5 * time.Minute
	db := open(t, cfg)
	var wg sync.WaitGroup
	for w := range 20 {
		wg.Go(func() {
			for range 20 {
				if err := db.Sessions().Run(t.Context(), touch); err != nil {
					t.Error("Run:", err)
				}
				if err := db.DB().QueryRowContext(t.Context(), "select $1::int", w).Scan(new(int)); err != nil {
					t.Error("bare:", err)
				}
			}
		})
	}
	wg.Wait()
}

// TestPostgres_ARefusedGrowthIsNotToldWhileConnectionsAreInUse: all three that the role may
// have are, and a fourth session waits for one of them, however often the server refuses.
func TestPostgres_ARefusedGrowthIsNotToldWhileConnectionsAreInUse(t *testing.T) {
	t.Parallel()
	server := fxtest.NewServer(t)
	cfg := newRole(t, server.Database(t), "secret", "connection limit 3")
	door := doorTo(t, cfg.Port)
	door.open()
	cfg.Port, cfg.PoolTimeout = door.port, 5*time.Minute
	db := open(t, cfg)
	entered, leave, ended := make(chan struct{}), make(chan struct{}), make(chan error, 3)
	for range 3 {
		go func() {
			ended <- db.Sessions().Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
				entered <- struct{}{}
				<-leave
				return touch(ctx, tx)
			})
		}()
	}
	for range 3 {
		<-entered
	}
	before := door.dials.Load()
	fourth := make(chan error, 1)
	go func() { fourth <- db.Sessions().Run(t.Context(), touch) }()
	for refused := false; !refused; refused = door.dials.Load() >= before+3 {
		select {
		case err := <-fourth:
			t.Fatalf("it has not waited: %v", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
	close(leave)
	if err := <-fourth; err != nil {
		t.Error(err)
	}
	for range 3 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// TestPostgres_AFullServerCostsNoSessionWhileAConnectionIdles: a session's connection dies
// before its first statement, another client takes its place at the server, and the pool
// has two that idle. It failed with 53300.
func TestPostgres_AFullServerCostsNoSessionWhileAConnectionIdles(t *testing.T) {
	t.Parallel()
	server := fxtest.NewServer(t)
	owner := server.Database(t)
	admin := open(t, owner)
	cfg := newRole(t, owner, "secret", "connection limit 3")
	cfg.PoolSize, cfg.PoolTimeout = 5, 5*time.Minute
	db := open(t, cfg)
	onceOf(t, 3, func() error { // the server may be slow to count those that have left
		if err := fill(t, db, 3); err != nil {
			return err
		}
		return db.Sessions().Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
			mine := db.Sessions().Running()[0].Backend
			if _, err := admin.DB().ExecContext(ctx, "select pg_terminate_backend($1, 60000)", int64(mine)); err != nil {
				return err
			}
			other, err := pgx.Connect(ctx, cfg.URL())
			if err != nil {
				return err
			}
			defer func() { _ = other.Close(context.WithoutCancel(ctx)) }()
			return touch(ctx, tx)
		})
	})
	if n := db.DB().Stats().InUse; n != 0 {
		t.Errorf("%d connections are in use", n)
	}
	if err := fill(t, db, 3); err != nil { // none was lost
		t.Error(err)
	}
}

// fill has n connections of db open at once, and leaves them idle.
func fill(t *testing.T, db *dbfx.Database, n int) error {
	t.Helper()
	for range n {
		conn, err := db.DB().Conn(t.Context())
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }()
	}
	return nil
}

// TestHealth_AFullServerIsNotDown: others have all of its connections but those of
// the pool, which are in use.
func TestHealth_AFullServerIsNotDown(t *testing.T) {
	t.Parallel()
	server := fxtest.NewServer(t, "max_connections=8", "superuser_reserved_connections=3", "max_wal_senders=0")
	cfg := newRole(t, server.Database(t), "secret", "")
	cfg.PoolSize, cfg.MaxOverflow = 2, 0
	db := open(t, cfg)
	var held []*pgx.Conn
	hold := func() error {
		conn, err := pgx.Connect(t.Context(), cfg.URL())
		if err == nil {
			held = append(held, conn)
		}
		return err
	}
	defer func() {
		for _, conn := range held {
			_ = conn.Close(context.Background())
		}
	}()
	for range 2 {
		conn, err := db.DB().Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
	}
	for hold() == nil {
		continue
	}
	if report := db.Health().Check(t.Context()); report.Status != dbfx.Warn || report.State != dbfx.StateSaturated {
		t.Errorf("got %s, %s, %v; want a warning", report.Status, report.State, report.Err)
	}
}

// TestPostgres_TakesThePasswordsThatPsqlTakes: PostgreSQL stores them as SASLprep
// makes them, and with MD5 as they are.
func TestPostgres_TakesThePasswordsThatPsqlTakes(t *testing.T) {
	t.Parallel()
	server := fxtest.NewServer(t)
	admin := server.Database(t)
	db := open(t, admin).DB()
	var data string
	if err := db.QueryRowContext(t.Context(), "show data_directory").Scan(&data); err != nil {
		t.Fatal(err)
	}
	for _, encryption := range []string{"scram-sha-256", "md5"} {
		for _, statement := range []string{
			"copy (select 'host all all 127.0.0.1/32 md5') to '" + data + "/pg_hba.conf'",
			"alter system set password_encryption = '" + encryption + "'", "select pg_reload_conf()",
		} {
			if _, err := db.ExecContext(t.Context(), statement); err != nil {
				t.Fatal(err)
			}
		}
		waitFor(t, fxtest.New(t, fxtest.Use(admin)), "select 'set' where current_setting('password_encryption') = '"+encryption+"'")
		for _, password := range []string{"plain", "\uFB01sh", "a\u00A0b", "so\u00ADft", "\u2168", "e\u0301", "\u00E9"} {
			cfg := newRole(t, admin, password, "")
			at, err := dbfx.Open(t.Context(), cfg)
			if err != nil {
				t.Errorf("%s, %+q: %v", encryption, password, err)
				continue
			}
			at.Sessions().Renew()
			if err := at.DB().PingContext(t.Context()); err != nil { // by the form that was found
				t.Errorf("%s, %+q, again: %v", encryption, password, err)
			}
			_ = at.Close(t.Context())
		}
	}
}

// TestPostgres_ADroppedIdleConnectionCostsNoRequest: a NAT has forgotten the twenty
// that idled, and each request has less time than one ping may take.
func TestPostgres_ADroppedIdleConnectionCostsNoRequest(t *testing.T) {
	t.Parallel()
	cfg := fxtest.Postgres(t)
	p := newProxy(t, cfg)
	cfg.Port = p.port
	app := fxtest.New(t, fxtest.Use(cfg))
	warm(t, app, 20)
	p.strand()
	time.Sleep(1100 * time.Millisecond) // of idling make them suspect
	failed := 0
	for range 40 {
		ctx, cancel := context.WithTimeout(t.Context(), 1900*time.Millisecond)
		if err := app.Sessions.Run(ctx, touch); err != nil {
			failed++
			t.Log(err)
		}
		cancel()
	}
	if failed > 1 { // on a machine that stands still for a second
		t.Errorf("%d of 40 requests failed", failed)
	}
}
