package dbfx

import (
	"context"
	"database/sql"
	"testing"
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
