package bench

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sergas/dbkit/dbfx"
)

// BenchmarkSession is the same work on SQLite by hand and through sessions, under a
// context that can be cancelled, as a request's can: select and update in a
// transaction on plain modernc, on dbfx's handle and in Run, a hundred inserts in
// each, as they are and prepared, and a point select in autocommit on plain modernc,
// on mattn and in View.
func BenchmarkSession(b *testing.B) {
	dbs := map[string]*sql.DB{}
	for _, v := range variants {
		dbs[v.name] = v.open(b, filepath.Join(b.TempDir(), v.name+".db"))
	}
	own := open(b, filepath.Join(b.TempDir(), "sessions.db"))
	for _, db := range append([]*sql.DB{own.DB()}, dbs["modernc"], dbs["mattn"], dbs["dbfx"]) {
		if _, err := db.Exec(schema); err != nil {
			b.Fatal(err)
		}
	}
	selectAndUpdate := func(ctx context.Context, tx dbfx.DBTX, i int) error {
		var year int
		if err := tx.QueryRowContext(ctx, "select year from books where id = ?", 1+i%2000).Scan(&year); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "update books set year = ? where id = ?", year+1, 1+i%2000)
		return err
	}
	point := func(ctx context.Context, tx dbfx.DBTX, i int) error {
		var title string
		return tx.QueryRowContext(ctx, "select title from books where id = ?", 1+i%2000).Scan(&title)
	}
	byHand := func(db *sql.DB) func(context.Context, int) error {
		return func(ctx context.Context, i int) error {
			return inTx(ctx, db, func(tx *sql.Tx) error { return selectAndUpdate(ctx, tx, i) })
		}
	}
	bare := func(db *sql.DB) func(context.Context, int) error {
		return func(ctx context.Context, i int) error { return point(ctx, db, i) }
	}
	insert100 := func(ctx context.Context, tx dbfx.DBTX, i int) error {
		for n := range 100 {
			if _, err := tx.ExecContext(ctx, "insert into log (text) values (?)", fmt.Sprint("line ", i, n)); err != nil {
				return err
			}
		}
		return nil
	}
	prepared100 := func(ctx context.Context, tx interface {
		PrepareContext(ctx context.Context, query string) (*sql.Stmt, error)
	}, i int) error {
		stmt, err := tx.PrepareContext(ctx, "insert into log (text) values (?)")
		if err != nil {
			return err
		}
		for n := range 100 {
			if _, err := stmt.ExecContext(ctx, fmt.Sprint("line ", i, n)); err != nil {
				return err
			}
		}
		return stmt.Close()
	}
	inserts := func(db *sql.DB) func(context.Context, int) error {
		return func(ctx context.Context, i int) error {
			return inTx(ctx, db, func(tx *sql.Tx) error { return insert100(ctx, tx, i) })
		}
	}
	prepared := func(db *sql.DB) func(context.Context, int) error {
		return func(ctx context.Context, i int) error {
			return inTx(ctx, db, func(tx *sql.Tx) error { return prepared100(ctx, tx, i) })
		}
	}
	type named struct {
		name string
		do   func(context.Context, int) error
	}
	for name, list := range map[string][]named{
		"transaction": {
			{"modernc", byHand(dbs["modernc"])},
			{"handle", byHand(dbs["dbfx"])},
			{"Run", func(ctx context.Context, i int) error {
				return own.Sessions().Run(ctx, func(ctx context.Context, tx *dbfx.Session) error { return selectAndUpdate(ctx, tx, i) })
			}},
		},
		"insert100": {
			{"modernc", inserts(dbs["modernc"])},
			{"handle", inserts(dbs["dbfx"])},
			{"Run", func(ctx context.Context, i int) error {
				return own.Sessions().Run(ctx, func(ctx context.Context, tx *dbfx.Session) error { return insert100(ctx, tx, i) })
			}},
		},
		"prepared100": {
			{"modernc", prepared(dbs["modernc"])},
			{"handle", prepared(dbs["dbfx"])},
			{"Run", func(ctx context.Context, i int) error {
				return own.Sessions().Run(ctx, func(ctx context.Context, tx *dbfx.Session) error { return prepared100(ctx, tx, i) })
			}},
		},
		"point": {
			{"modernc", bare(dbs["modernc"])},
			{"mattn", bare(dbs["mattn"])},
			{"handle", bare(dbs["dbfx"])},
			{"View", func(ctx context.Context, i int) error {
				return own.Sessions().View(ctx, func(ctx context.Context, tx *dbfx.Session) error { return point(ctx, tx, i) })
			}},
		},
	} {
		b.Run(name, func(b *testing.B) {
			chunk := 50
			if strings.HasSuffix(name, "100") {
				chunk = 3
			}
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			ratios := make([][]float64, len(list))
			var base []float64
			for round := 0; b.Loop(); round++ {
				took := make([]float64, len(list))
				for n := range list {
					i := (n + round) % len(list) // no one always comes first
					start := time.Now()
					for n := range chunk {
						if err := list[i].do(ctx, round*chunk+n); err != nil {
							b.Fatal(list[i].name, err)
						}
					}
					took[i] = float64(time.Since(start).Nanoseconds()) / float64(chunk)
				}
				base = append(base, took[0]/1000)
				for i := range list {
					ratios[i] = append(ratios[i], took[i]/took[0])
				}
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(median(base), "µs-modernc")
			for i, v := range list[1:] {
				b.ReportMetric(median(ratios[i+1]), "x-"+v.name)
			}
		})
	}
}
