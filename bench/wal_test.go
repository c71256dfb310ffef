package bench

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sergas/dbkit/dbfx"
)

// BenchmarkWAL is a minute of one writer beside eight readers whose Views overlap,
// so that there is never a moment without a reader: how large the log became, and
// what the writer's sessions took.
func BenchmarkWAL(b *testing.B) {
	path := filepath.Join(b.TempDir(), "a.db")
	db := open(b, path)
	if _, err := db.DB().Exec("create table blobs (id integer primary key, data blob)"); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		var stop atomic.Bool
		var largest atomic.Int64
		var wg sync.WaitGroup
		var took []time.Duration
		views := make([]int, 8)
		ctx := context.Background()
		for i := range views {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 3 * time.Millisecond)
				for !stop.Load() {
					err := db.Sessions().View(ctx, func(ctx context.Context, tx *dbfx.Session) error {
						var n int
						if err := tx.QueryRowContext(ctx, "select count(*) from (select 1 from blobs limit 100)").Scan(&n); err != nil {
							return err
						}
						time.Sleep(20 * time.Millisecond)
						return nil
					})
					if err != nil {
						b.Error(err)
						return
					}
					views[i]++
				}
			})
		}
		wg.Go(func() {
			for !stop.Load() {
				start := time.Now()
				err := db.Sessions().Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
					_, err := tx.ExecContext(ctx, "insert into blobs (data) values (randomblob(20000))")
					return err
				})
				if err != nil {
					b.Error(err)
					return
				}
				took = append(took, time.Since(start))
			}
		})
		wg.Go(func() {
			for !stop.Load() {
				if info, err := os.Stat(path + "-wal"); err == nil {
					largest.Store(max(largest.Load(), info.Size()))
				}
				time.Sleep(10 * time.Millisecond)
			}
		})
		time.Sleep(walSpan)
		stop.Store(true)
		wg.Wait()
		slices.Sort(took)
		sum := 0
		for _, n := range views {
			sum += n
		}
		ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(float64(largest.Load())/(1<<20), "MiB-wal")
		b.ReportMetric(float64(len(took))/walSpan.Seconds(), "writes/s")
		b.ReportMetric(float64(sum)/walSpan.Seconds(), "views/s")
		b.ReportMetric(ms(took[len(took)/2]), "ms-p50")
		b.ReportMetric(ms(took[len(took)*99/100]), "ms-p99")
		b.ReportMetric(ms(took[len(took)-1]), "ms-longest")
	}
}

const walSpan = time.Minute
