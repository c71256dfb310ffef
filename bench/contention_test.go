package bench

import (
	"context"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sergas/dbkit/dbfx"
)

// BenchmarkContention is eight readers, each with a pause of 300 µs, beside
// writing sessions (BEGIN, SELECT, 500 µs of work, UPDATE, COMMIT), for two
// seconds a case. staticpool is one connection for all, as the original had.
func BenchmarkContention(b *testing.B) {
	cases := []struct {
		name          string
		writers, bare int
	}{{"4", 4, 0}, {"16", 16, 0}, {"64", 64, 0}, {"4+2bare", 4, 2}, {"16+8bare", 16, 8}}
	for _, c := range cases {
		b.Run("dbfx/"+c.name, func(b *testing.B) {
			db := open(b, filepath.Join(b.TempDir(), "a.db"))
			contend(b, c.writers, c.bare, db,
				func(ctx context.Context, fn func(context.Context, dbfx.DBTX) error) error {
					return db.Sessions().View(ctx, func(ctx context.Context, tx *dbfx.Session) error { return fn(ctx, tx) })
				},
				func(ctx context.Context, fn func(context.Context, dbfx.DBTX) error) error {
					return db.Sessions().Run(ctx, func(ctx context.Context, tx *dbfx.Session) error { return fn(ctx, tx) })
				})
		})
		if c.bare > 0 {
			continue
		}
		b.Run("staticpool/"+c.name, func(b *testing.B) {
			db := open(b, filepath.Join(b.TempDir(), "a.db"))
			db.DB().SetMaxOpenConns(1)
			bare := func(ctx context.Context, fn func(context.Context, dbfx.DBTX) error) error {
				tx, err := db.DB().BeginTx(ctx, nil)
				if err != nil {
					return err
				}
				defer func() { _ = tx.Rollback() }()
				if err := fn(ctx, tx); err != nil {
					return err
				}
				return tx.Commit()
			}
			contend(b, c.writers, 0, db, func(ctx context.Context, fn func(context.Context, dbfx.DBTX) error) error {
				return fn(ctx, db.DB())
			}, bare)
		})
	}
}

type run func(context.Context, func(context.Context, dbfx.DBTX) error) error

func contend(b *testing.B, writers, bare int, db *dbfx.Database, view, write run) {
	if _, err := db.DB().Exec("create table kv (k integer primary key, v integer); insert into kv values (1, 0), (2, 0)"); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		ctx := context.Background()
		var stop atomic.Bool
		var failed atomic.Int64
		var mu sync.Mutex
		took := map[string][]time.Duration{}
		var wg sync.WaitGroup
		worker := func(kind string, pause time.Duration, do func() error) {
			wg.Go(func() {
				var mine []time.Duration
				for !stop.Load() {
					start := time.Now()
					if err := do(); err != nil {
						failed.Add(1)
					}
					mine = append(mine, time.Since(start))
					time.Sleep(pause)
				}
				mu.Lock()
				took[kind] = append(took[kind], mine...)
				mu.Unlock()
			})
		}
		for range 8 {
			worker("r", 300*time.Microsecond, func() error {
				return view(ctx, func(ctx context.Context, tx dbfx.DBTX) error {
					var v int
					return tx.QueryRowContext(ctx, "select v from kv where k = 1").Scan(&v)
				})
			})
		}
		for range writers {
			worker("w", 0, func() error {
				return write(ctx, func(ctx context.Context, tx dbfx.DBTX) error {
					var v int
					if err := tx.QueryRowContext(ctx, "select v from kv where k = 2").Scan(&v); err != nil {
						return err
					}
					time.Sleep(500 * time.Microsecond)
					_, err := tx.ExecContext(ctx, "update kv set v = $1 where k = 2", v+1)
					return err
				})
			})
		}
		for range bare {
			worker("b", 0, func() error { _, err := db.DB().ExecContext(ctx, "update kv set v = v + 1 where k = 1"); return err })
		}
		time.Sleep(2 * time.Second)
		stop.Store(true)
		wg.Wait()
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(float64(failed.Load()), "errors")
		for kind, list := range took {
			slices.Sort(list)
			b.ReportMetric(float64(len(list))/2, kind+"/s")
			b.ReportMetric(float64(list[len(list)/2].Microseconds())/1000, kind+"-p50-ms")
			b.ReportMetric(float64(list[len(list)*99/100].Microseconds())/1000, kind+"-p99-ms")
		}
	}
}
