package dbfx

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"testing"
	"testing/synctest"
	"time"
)

func TestTrim_ClosesTheOverflowThatIdledThroughTheWindow(t *testing.T) {
	t.Parallel()
	cfg := DefaultConfig()
	cfg.SQLitePath, cfg.SQLiteMaxConns = t.TempDir()+"/a.db", 4
	d, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close(context.Background()) }()
	h := d.engine.Main()
	h.Keep = 2
	fill := func() {
		var conns []*sql.Conn
		for range 4 {
			conn, err := d.main.Conn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			conns = append(conns, conn)
		}
		for _, conn := range conns {
			_ = conn.Close()
		}
	}
	fill()
	over := 0
	for range trimWindow - 1 {
		over = trim(d.main, h, over)
	}
	if n := d.main.Stats().Idle; n != 4 {
		t.Errorf("trimmed to %d before the window was over", n)
	}
	if over = trim(d.main, h, over); over != 0 || d.main.Stats().Idle != 2 {
		t.Errorf("got %d idle connections, want 2", d.main.Stats().Idle)
	}
	fill()
	if n := d.main.Stats().Idle; n != 4 {
		t.Errorf("the cap is left at %d", n)
	}
}

// Both pools of a database with a replica are trimmed, once the load has gone.
func TestTrim_IsOfTheReplicasToo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := DefaultConfig()
		cfg.Password, cfg.PoolSize, cfg.MaxOverflow = NewSecret("secret"), 2, 2
		cfg.DatabaseReplicaURL = NewSecret("postgres://replica/db")
		pools := map[Role]*sql.DB{}
		d, err := Open(t.Context(), cfg, WithOpener(func(h HandleInfo, _ driver.Connector) *sql.DB {
			pools[h.Role] = sql.OpenDB(deadConnector{})
			return pools[h.Role]
		}))
		if err != nil {
			t.Fatal(err)
		}
		for role, db := range pools {
			var conns []*sql.Conn
			for range 4 {
				conn, err := db.Conn(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				conns = append(conns, conn)
			}
			for _, conn := range conns {
				_ = conn.Close()
			}
			if n := db.Stats().Idle; n != 4 {
				t.Errorf("%s: %d connections idle, want 4", role, n)
			}
		}
		time.Sleep(trimInterval * (trimWindow + 1))
		for _, role := range []Role{RoleMain, RoleReplica} {
			if n := pools[role].Stats().Idle; n != 2 {
				t.Errorf("%s: %d connections idle, want POOL_SIZE", role, n)
			}
		}
		if err := d.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
