package migrate_test

import (
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/dbfx/migrate"
	"github.com/sergas/dbkit/fxtest"
)

// relay stands in front of PostgreSQL and counts what clients send.
func relay(t *testing.T, cfg dbfx.Config) (dbfx.Config, *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	target := net.JoinHostPort(cfg.Host, strconv.Itoa(cfg.Port))
	sent := new(atomic.Int64)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", target)
			if err != nil {
				_ = client.Close()
				continue
			}
			wg.Go(func() {
				_, _ = io.Copy(client, server)
				_ = client.Close()
			})
			wg.Go(func() {
				_, _ = io.Copy(counting{server, sent}, client)
				_ = server.Close()
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
	})
	cfg.Port = l.Addr().(*net.TCPAddr).Port
	return cfg, sent
}

type counting struct {
	io.Writer
	n *atomic.Int64
}

func (c counting) Write(p []byte) (int, error) {
	c.n.Add(1)
	return c.Writer.Write(p)
}

func TestUp_WithNothingPendingTakesThreeRoundTripsAtMost(t *testing.T) {
	t.Parallel()
	direct := fxtest.Postgres(t)
	fsys := files("00001_first.sql", usersAndNotes)
	open(t, direct).up(t, fsys)
	cfg, sent := relay(t, direct)
	cfg.SSLMode, cfg.PoolSize, cfg.MaxOverflow = "disable", 1, 0
	db := open(t, cfg)
	m := db.migrator(t, fsys)
	// No one waits for the answer to a ROLLBACK. A statement behind it on the only
	// connection does, so that all that was sent before has been counted.
	settle := func() int64 {
		db.exec(t, "select 1")
		return sent.Load()
	}
	settle() // fills the caches
	settled := settle()
	own := settle() - settled
	before := sent.Load()
	if done, err := m.Up(t.Context()); err != nil || len(done) != 0 {
		t.Fatal(done, err)
	}
	after := settle()
	if n := after - own - before; n > 3 {
		t.Errorf("%d round trips, want 3 at most", n)
	} else {
		t.Logf("%d round trips", n)
	}
	if got := m.Ready(t.Context()); got.Status != dbfx.Pass || settle()-own != after {
		t.Errorf("readiness asked again: %+v", got)
	}
}

func BenchmarkUp_NothingPending(b *testing.B) {
	for name, cfg := range map[string]dbfx.Config{"sqlite": fxtest.SQLite(b), "postgresql": fxtest.Postgres(b)} {
		b.Run(name, func(b *testing.B) {
			db, err := dbfx.Open(b.Context(), cfg)
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = db.Close(b.Context()) }()
			fsys := files("00001_first.sql", usersAndNotes)
			for b.Loop() { // as a start does: the files are read each time
				m, err := migrate.New(db, fsys)
				if err == nil {
					_, err = m.Up(b.Context())
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
