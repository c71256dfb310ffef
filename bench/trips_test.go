package bench

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

// BenchmarkTrips is one worker on a line on which a round trip takes a millisecond
// more, and on one without: the time of each way as the median of its ratios to
// database/sql's on pgx, turn by turn, under contexts that can be cancelled.
func BenchmarkTrips(b *testing.B) {
	for name, delay := range map[string]time.Duration{"loopback": 0, "1ms": time.Millisecond} {
		b.Run(name, func(b *testing.B) {
			cfg := fxtest.Postgres(b)
			if delay > 0 {
				var link *fxtest.Link
				cfg, link = fxtest.Proxy(b, cfg)
				link.Delay(delay)
			}
			list := ways(b, cfg)
			own, err := dbfx.Open(b.Context(), cfg)
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { _ = own.Close(context.Background()) })
			view := func(ctx context.Context) error {
				return own.Sessions().View(ctx, func(ctx context.Context, tx *dbfx.Session) error {
					var v int
					return tx.QueryRowContext(ctx, "select v from kv where k = $1", key()).Scan(&v)
				})
			}
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			work := []func(context.Context) error{list[0].tx, list[1].tx, list[3].tx, list[0].sel, view}
			ratios := make([][]float64, len(work))
			for round := 0; b.Loop(); round++ {
				took := make([]float64, len(work))
				for n := range work {
					i := (n + round) % len(work)
					took[i] = p50(b, ctx, work[i])
				}
				for i := range work {
					base := took[0]
					if i > 2 {
						base = took[3]
					}
					ratios[i] = append(ratios[i], took[i]/base)
				}
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(median(ratios[1]), "x-pgxpool-tx")
			b.ReportMetric(median(ratios[2]), "x-Run")
			b.ReportMetric(median(ratios[4]), "x-View")
		})
	}
}

// p50 is the median time of forty runs of fn.
func p50(b *testing.B, ctx context.Context, fn func(context.Context) error) float64 {
	var took []time.Duration
	for range 40 {
		start := time.Now()
		if err := fn(ctx); err != nil {
			b.Error(err)
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	return float64(took[len(took)/2])
}
