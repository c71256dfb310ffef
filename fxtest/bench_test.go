package fxtest_test

import (
	"context"
	"database/sql"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

// BenchmarkSession compares Run and View with the transaction that one writes by
// hand on the same pool, turn by turn in one run. x/bare is the median of the
// ratios; allocs/more is what a session allocates beyond the bare transaction.
func BenchmarkSession(b *testing.B) {
	for name, config := range map[string]func(testing.TB) dbfx.Config{"sqlite": fxtest.SQLite, "postgresql": fxtest.Postgres} {
		app := fxtest.New(b, fxtest.Use(config(b)))
		if _, err := app.DB.Exec("create table kv (k text primary key, v integer); insert into kv values ('a', 1)"); err != nil {
			b.Fatal(err)
		}
		work := func(ctx context.Context, tx dbfx.DBTX, write bool) error {
			var v int
			if err := tx.QueryRowContext(ctx, "select v from kv where k = $1", "a").Scan(&v); err != nil || !write {
				return err
			}
			_, err := tx.ExecContext(ctx, "update kv set v = $1 where k = $2", v+1, "a")
			return err
		}
		for _, write := range []bool{true, false} {
			title, run := name+"/View", app.Sessions.View
			if write {
				title, run = name+"/Run", app.Sessions.Run
			}
			b.Run(title, func(b *testing.B) {
				ctx := b.Context()
				bare := func() error {
					tx, err := app.DB.BeginTx(ctx, &sql.TxOptions{ReadOnly: !write})
					if err != nil {
						return err
					}
					defer func() { _ = tx.Rollback() }()
					if err := work(ctx, tx, write); err != nil {
						return err
					}
					return tx.Commit()
				}
				session := func() error {
					return run(ctx, func(ctx context.Context, tx *dbfx.Session) error { return work(ctx, tx, write) })
				}
				compare(b, bare, session)
			})
		}
	}
}

// compare runs both in turns and reports their ratio.
func compare(b *testing.B, base, other func() error) {
	const chunk = 50
	one := func(fn func() error) (time.Duration, uint64) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := time.Now()
		for range chunk {
			if err := fn(); err != nil {
				b.Fatal(err)
			}
		}
		took := time.Since(start)
		runtime.ReadMemStats(&after)
		return took, (after.Mallocs - before.Mallocs) / chunk
	}
	var ratios []float64
	var more int64
	for b.Loop() {
		baseTime, baseAllocs := one(base)
		otherTime, otherAllocs := one(other)
		ratios = append(ratios, float64(otherTime)/float64(baseTime))
		more = int64(otherAllocs) - int64(baseAllocs)
	}
	slices.Sort(ratios)
	b.ReportMetric(ratios[len(ratios)/2], "x/bare")
	b.ReportMetric(float64(more), "allocs/more")
}
