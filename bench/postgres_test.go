package bench

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

// way is one way to a PostgreSQL with 30 connections.
type way struct {
	name string
	sel  func(ctx context.Context) error
	tx   func(ctx context.Context) error
}

func ways(b *testing.B, cfg dbfx.Config) []way {
	b.Helper()
	ctx := context.Background()
	config, err := pgx.ParseConfig(cfg.URL())
	if err != nil {
		b.Fatal(err)
	}
	bare := stdlib.OpenDB(*config)
	bare.SetMaxOpenConns(30)
	bare.SetMaxIdleConns(30)
	b.Cleanup(func() { _ = bare.Close() })
	poolConfig, err := pgxpool.ParseConfig(cfg.URL())
	if err != nil {
		b.Fatal(err)
	}
	poolConfig.MaxConns = 30
	pool, err := pgxpool.NewWithConfig(ctx, poolConfig)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(pool.Close)
	own, err := dbfx.Open(ctx, cfg)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = own.Close(ctx) })
	if _, err := bare.Exec("create table kv (k integer primary key, v integer); insert into kv select i, 0 from generate_series(1, 1000) i"); err != nil {
		b.Fatal(err)
	}

	const read, write = "select v from kv where k = $1", "update kv set v = v + 1 where k = $1"
	viaSQL := func(db *sql.DB) way {
		return way{
			sel: func(ctx context.Context) error { var v int; return db.QueryRowContext(ctx, read, key()).Scan(&v) },
			tx: func(ctx context.Context) error {
				return inTx(ctx, db, func(tx *sql.Tx) error {
					var v int
					k := key()
					if err := tx.QueryRowContext(ctx, read, k).Scan(&v); err != nil {
						return err
					}
					_, err := tx.ExecContext(ctx, write, k)
					return err
				})
			},
		}
	}
	base, mine := viaSQL(bare), viaSQL(own.DB())
	base.name, mine.name = "sql", "dbfx"
	run := way{name: "dbfx-Run"}
	run.tx = func(ctx context.Context) error {
		return own.Sessions().Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
			var v int
			k := key()
			if err := tx.QueryRowContext(ctx, read, k).Scan(&v); err != nil {
				return err
			}
			_, err := tx.ExecContext(ctx, write, k)
			return err
		})
	}
	raw := way{
		name: "pgxpool",
		sel:  func(ctx context.Context) error { var v int; return pool.QueryRow(ctx, read, key()).Scan(&v) },
		tx: func(ctx context.Context) error {
			return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
				var v int
				k := key()
				if err := tx.QueryRow(ctx, read, k).Scan(&v); err != nil {
					return err
				}
				_, err := tx.Exec(ctx, write, k)
				return err
			})
		},
	}
	return []way{base, raw, mine, run}
}

// key spreads the updates, so that rows are not what is waited for.
func key() int { return int(time.Now().UnixNano()/97%1000) + 1 }

// slice runs fn with c workers for a while and returns operations a second.
func slice(b *testing.B, c int, fn func(context.Context) error) float64 {
	const span = 60 * time.Millisecond
	var wg sync.WaitGroup
	counts := make([]int, c)
	ctx, cancel := context.WithCancel(context.Background()) // as a request's can be
	defer cancel()
	start := time.Now()
	for w := range c {
		wg.Go(func() {
			for time.Since(start) < span {
				if err := fn(ctx); err != nil {
					b.Error(err)
					return
				}
				counts[w]++
			}
		})
	}
	wg.Wait()
	total := 0
	for _, n := range counts {
		total += n
	}
	return float64(total) / time.Since(start).Seconds()
}

// BenchmarkPostgres reports the throughput of each way as the median of its
// ratios to database/sql on pgx with 30 idle connections, in interleaved slices.
func BenchmarkPostgres(b *testing.B) {
	list := ways(b, fxtest.Postgres(b))
	for _, c := range []int{1, 8, 64} {
		for _, work := range []string{"select", "tx"} {
			b.Run(fmt.Sprintf("%s/%d", work, c), func(b *testing.B) {
				ratios := make([][]float64, len(list))
				var base []float64
				for round := 0; b.Loop(); round++ {
					speeds := make([]float64, len(list))
					for n := range list {
						i := (n + round) % len(list) // no one always comes first
						w := list[i]
						fn := w.sel
						if work == "tx" {
							fn = w.tx
						}
						if fn != nil {
							speeds[i] = slice(b, c, fn)
						}
					}
					base = append(base, speeds[0])
					for i := range list {
						ratios[i] = append(ratios[i], speeds[i]/speeds[0])
					}
				}
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(median(base), "op/s-sql")
				for i, w := range list[1:] {
					if w.sel != nil || work == "tx" {
						b.ReportMetric(median(ratios[i+1]), "x-"+w.name)
					}
				}
			})
		}
	}
}

// BenchmarkFairness is 64 workers on 4 connections, 2 ms of work each: how long
// the unlucky wait, in database/sql and in sessions.
func BenchmarkFairness(b *testing.B) {
	cfg := fxtest.Postgres(b)
	cfg.PoolSize, cfg.MaxOverflow = 4, 0
	own, err := dbfx.Open(context.Background(), cfg)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = own.Close(context.Background()) })
	hold := func() { time.Sleep(2 * time.Millisecond) }
	kinds := map[string]func() error{
		"sql": func() error {
			conn, err := own.DB().Conn(context.Background())
			if err != nil {
				return err
			}
			hold()
			return conn.Close()
		},
		"dbfx": func() error {
			return own.Sessions().View(context.Background(), func(context.Context, *dbfx.Session) error { hold(); return nil })
		},
	}
	for _, name := range []string{"sql", "dbfx"} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				var mu sync.Mutex
				var took []time.Duration
				var wg sync.WaitGroup
				for range 64 {
					wg.Go(func() {
						for range 40 {
							start := time.Now()
							if err := kinds[name](); err != nil {
								b.Error(err)
							}
							mu.Lock()
							took = append(took, time.Since(start))
							mu.Unlock()
						}
					})
				}
				wg.Wait()
				slices.Sort(took)
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
				b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
			}
		})
	}
}
