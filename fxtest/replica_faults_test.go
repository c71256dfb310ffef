package fxtest_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

// serverPort says which server answers a View.
func serverPort(ctx context.Context, s *dbfx.Sessions) (int, error) {
	return dbfx.ViewValue(ctx, s, func(ctx context.Context, tx *dbfx.Session) (port int, err error) {
		return port, tx.QueryRowContext(ctx, "select inet_server_port()").Scan(&port)
	})
}

// waitForPort waits until Views go there.
func waitForPort(t *testing.T, s *dbfx.Sessions, want int) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		port, err := serverPort(t.Context(), s)
		if err == nil && port == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("Views go to port %d, %v; want %d", port, err, want)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// withReplica gives cfg a replica at this port, with the arguments args.
func withReplica(cfg dbfx.Config, port int, args string) dbfx.Config {
	at := cfg
	cfg.DatabaseReplicaURL = hosts(at, args, port).DatabaseURL
	return cfg
}

// TestReplica_AFrozenOneCostsNoView: it takes connections and answers nothing, and
// the connections that were open are silent too.
func TestReplica_AFrozenOneCostsNoView(t *testing.T) {
	t.Parallel()
	_, standby, cfg := pair(t)
	at := cfg
	at.Port = standby.Port()
	p := newProxy(t, at)
	cfg = withReplica(cfg, p.port, "sslmode=disable")
	cfg.DatabaseReplicaMaxLag = time.Hour
	db := open(t, cfg)
	waitForPort(t, db.Sessions(), standby.Port())
	p.blackhole()
	failed := 0
	for range 20 {
		ctx, cancel := context.WithTimeout(t.Context(), 6*time.Second)
		port, err := serverPort(ctx, db.Sessions())
		cancel()
		if err != nil || port != cfg.Port {
			failed++
			t.Logf("on port %d, %v", port, err)
		}
	}
	if failed > 1 { // the one that had begun when it froze
		t.Errorf("%d of 20 Views failed beside a frozen replica", failed)
	}
}

// TestReplica_AHungLagQueryIsBounded: the replica freezes after BEGIN.
func TestReplica_AHungLagQueryIsBounded(t *testing.T) {
	t.Parallel()
	_, standby, cfg := pair(t)
	at := cfg
	at.Port = standby.Port()
	p := newProxy(t, at)
	cfg = withReplica(cfg, p.port, "sslmode=disable")
	cfg.DatabaseReplicaMaxLag = time.Hour
	db := open(t, cfg)
	waitForPort(t, db.Sessions(), standby.Port())
	for range 2 {
		db.Sessions().Renew() // the next connection sends the text
		p.on("pg_last_wal_replay_lsn", stallReply)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		if port, err := serverPort(ctx, db.Sessions()); err != nil || port != cfg.Port {
			t.Errorf("on port %d, %v; want the primary", port, err)
		}
		cancel()
		waitForPort(t, db.Sessions(), standby.Port())
	}
}

// TestReplica_AnOrdinaryRoleUsesAnIdleOne: pg_stat_wal_receiver hides its columns
// from it, and nothing is replayed for a long time.
func TestReplica_AnOrdinaryRoleUsesAnIdleOne(t *testing.T) {
	t.Parallel()
	_, standby, cfg := pair(t)
	admin := open(t, cfg)
	role := fmt.Sprintf("ordinary_%d", time.Now().UnixNano())
	if _, err := admin.DB().ExecContext(t.Context(), "create role "+role+" login password 'secret'"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, fxtest.New(t, fxtest.Use(cfg)), "select 'ok' from pg_stat_replication where replay_lsn = pg_current_wal_lsn()")
	if _, err := admin.DB().ExecContext(t.Context(), "select pg_sleep(1.1)"); err != nil { // the last transaction is older than the limit
		t.Fatal(err)
	}
	ordinary := cfg
	ordinary.User, ordinary.Password = role, dbfx.NewSecret("secret")
	ordinary = withReplica(ordinary, standby.Port(), "sslmode=disable")
	ordinary.DatabaseReplicaMaxLag = time.Second
	db := open(t, ordinary)
	for range 20 { // not each one: a machine that stands still takes the replica out of use
		waitForPort(t, db.Sessions(), standby.Port())
	}
}

// TestReplica_APromotedOneIsLeft: its sessions stay through the promotion.
func TestReplica_APromotedOneIsLeft(t *testing.T) {
	t.Parallel()
	for _, attrs := range []string{"standby", "read-only", "prefer-standby"} {
		t.Run(attrs, func(t *testing.T) {
			t.Parallel()
			_, standby, cfg := pair(t)
			there := cfg
			there.Port = standby.Port()
			promoter := open(t, there)
			args := "sslmode=disable&target_session_attrs=" + attrs
			cfg = withReplica(cfg, standby.Port(), args)
			app := fxtest.New(t, fxtest.Use(cfg))
			entered, leave := make(chan struct{}), make(chan struct{})
			ended := make(chan error, 5)
			for range 5 { // five connections to the replica
				go func() {
					ended <- app.Sessions.View(t.Context(), func(context.Context, *dbfx.Session) error {
						entered <- struct{}{}
						<-leave
						return nil
					})
				}()
			}
			for range 5 {
				<-entered
			}
			close(leave)
			for range 5 {
				if err := <-ended; err != nil {
					t.Error(err)
				}
			}
			if _, err := promoter.DB().ExecContext(t.Context(), "select pg_promote()"); err != nil {
				t.Fatal(err)
			}
			if attrs == "prefer-standby" { // it stays, unless a slow machine takes it out of use
				for range 20 {
					waitForPort(t, app.Sessions, standby.Port())
				}
				return
			}
			stayed := 0
			for range 20 {
				port, err := serverPort(t.Context(), app.Sessions)
				if err != nil {
					t.Error(err)
				}
				if port == standby.Port() {
					stayed++
				}
			}
			if stayed > 0 {
				t.Errorf("%d of 20 Views were on the promoted server", stayed)
			}
		})
	}
}

// TestPrimary_IsNotReadWrite: the server writes, and its default is to read. As in
// libpq it is a primary all the same.
func TestPrimary_IsNotReadWrite(t *testing.T) {
	t.Parallel()
	cfg := fxtest.Postgres(t)
	admin := open(t, cfg)
	if _, err := admin.DB().ExecContext(t.Context(), "alter database "+cfg.Name+" set default_transaction_read_only = on"); err != nil {
		t.Fatal(err)
	}
	db := open(t, hosts(cfg, "sslmode=disable&target_session_attrs=primary", cfg.Port))
	var first int
	for i := range 10 {
		var pid int
		err := db.Sessions().Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
			return tx.QueryRowContext(ctx, "select pg_backend_pid()").Scan(&pid)
		})
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = pid
		}
		if pid != first {
			t.Fatalf("Run %d has another connection: the pool wears them out", i)
		}
	}
}
