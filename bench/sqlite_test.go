// Package bench compares dbfx with its peers on the same work, turn by turn in
// one run: on a shared machine only ratios mean something. It is a module of its
// own, so that the peers are no requirement of dbfx.
package bench

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	_ "github.com/mattn/go-sqlite3"
	_ "modernc.org/sqlite"

	"github.com/sergas/dbkit/dbfx"
)

// variant is one way to open a SQLite file.
type variant struct {
	name string
	open func(tb testing.TB, path string) *sql.DB
}

const pragmas = "?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)&_pragma=foreign_keys(1)" +
	"&_pragma=cache_size(-65536)&_pragma=temp_store(MEMORY)&_txlock=immediate&_time_format=sqlite"

var variants = []variant{
	{"modernc", func(tb testing.TB, path string) *sql.DB { return plain(tb, "sqlite", "file:"+path+pragmas) }},
	{"modernc-defaults", func(tb testing.TB, path string) *sql.DB { return plain(tb, "sqlite", path) }},
	{"mattn", func(tb testing.TB, path string) *sql.DB {
		return plain(tb, "sqlite3", "file:"+path+"?_busy_timeout=5000&_journal_mode=WAL&_synchronous=NORMAL&_foreign_keys=1&_cache_size=-65536&_txlock=immediate")
	}},
	{"dbfx", func(tb testing.TB, path string) *sql.DB { return open(tb, path).DB() }},
}

func plain(tb testing.TB, driver, dsn string) *sql.DB {
	tb.Helper()
	db, err := sql.Open(driver, dsn)
	if err != nil {
		tb.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	tb.Cleanup(func() { _ = db.Close() })
	return db
}

func open(tb testing.TB, path string) *dbfx.Database {
	tb.Helper()
	cfg := dbfx.DefaultConfig()
	cfg.SQLitePath = path
	db, err := dbfx.Open(context.Background(), cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = db.Close(context.Background()) })
	return db
}

const schema = `
create table authors (id integer primary key, name text not null, country text not null);
create table books (id integer primary key, author_id integer not null references authors (id), title text not null, year integer not null);
create table sales (book_id integer not null references books (id), n integer not null);
create index books_author on books (author_id);
create index sales_book on sales (book_id);
create table log (id integer primary key, text text not null);
insert into authors with recursive n(i) as (select 1 union all select i + 1 from n where i < 200) select i, 'author ' || i, 'c' || (i % 7) from n;
insert into books with recursive n(i) as (select 1 union all select i + 1 from n where i < 2000) select i, 1 + i % 200, 'book ' || i, 1900 + i % 120 from n;
insert into sales with recursive n(i) as (select 1 union all select i + 1 from n where i < 4000) select 1 + i % 2000, i % 50 from n;`

type work struct {
	name string
	do   func(ctx context.Context, db *sql.DB, i int) error
}

var works = []work{
	{"point", func(ctx context.Context, db *sql.DB, i int) error {
		var title string
		return db.QueryRowContext(ctx, "select title from books where id = ?", 1+i%2000).Scan(&title)
	}},
	{"join", func(ctx context.Context, db *sql.DB, i int) error {
		return drain(db.QueryContext(ctx, `select b.title, a.name, s.n from books b join authors a on a.id = b.author_id
			join sales s on s.book_id = b.id where b.id = ? and b.year > ? and a.country <> ? order by s.n desc limit 5`, 1+i%2000, 1950, "c3"))
	}},
	{"scan100", func(ctx context.Context, db *sql.DB, i int) error {
		return drain(db.QueryContext(ctx, "select id, title, year from books where id > ? order by id limit 100", i%1900))
	}},
	{"session", func(ctx context.Context, db *sql.DB, i int) error {
		return inTx(ctx, db, func(tx *sql.Tx) error {
			var year int
			if err := tx.QueryRowContext(ctx, "select year from books where id = ?", 1+i%2000).Scan(&year); err != nil {
				return err
			}
			_, err := tx.ExecContext(ctx, "update books set year = ? where id = ?", year+1, 1+i%2000)
			return err
		})
	}},
	{"insert100", func(ctx context.Context, db *sql.DB, i int) error {
		return inTx(ctx, db, func(tx *sql.Tx) error {
			for n := range 100 {
				if _, err := tx.ExecContext(ctx, "insert into log (text) values (?)", fmt.Sprint("line ", i, n)); err != nil {
					return err
				}
			}
			return nil
		})
	}},
}

func inTx(ctx context.Context, db *sql.DB, fn func(tx *sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if err := fn(tx); err != nil {
		return err
	}
	return tx.Commit()
}

func drain(rows *sql.Rows, err error) error {
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	var a, b, c any
	for rows.Next() {
		if err := rows.Scan(&a, &b, &c); err != nil {
			return err
		}
	}
	return rows.Err()
}

// BenchmarkSQLite reports for each work the median ratio of each variant's time
// to plain modernc's with the same pragmas, and that one's microseconds.
func BenchmarkSQLite(b *testing.B) {
	ctx := context.Background() // without a Done: the drivers' goroutine per statement is another matter
	dbs := make([]*sql.DB, len(variants))
	for i, v := range variants {
		dbs[i] = v.open(b, filepath.Join(b.TempDir(), v.name+".db"))
		if _, err := dbs[i].Exec(schema); err != nil {
			b.Fatal(v.name, err)
		}
	}
	for _, w := range works {
		b.Run(w.name, func(b *testing.B) {
			chunk := 50
			if w.name == "insert100" {
				chunk = 3
			}
			ratios := make([][]float64, len(variants))
			var base []float64
			for round := 0; b.Loop(); round++ {
				times := make([]float64, len(variants))
				for i := range variants {
					start := time.Now()
					for n := range chunk {
						if err := w.do(ctx, dbs[i], round*chunk+n); err != nil {
							b.Fatal(variants[i].name, err)
						}
					}
					times[i] = float64(time.Since(start).Nanoseconds()) / float64(chunk)
				}
				base = append(base, times[0]/1000)
				for i := range variants {
					ratios[i] = append(ratios[i], times[i]/times[0])
				}
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(median(base), "µs-modernc")
			for i, v := range variants[1:] {
				b.ReportMetric(median(ratios[i+1]), "x-"+v.name)
			}
		})
	}
}

func median(list []float64) float64 {
	slices.Sort(list)
	return list[len(list)/2]
}

// BenchmarkOpen is dbfx.Open, its proofs included, and the close.
func BenchmarkOpen(b *testing.B) {
	existing := filepath.Join(b.TempDir(), "existing.db")
	if _, err := open(b, existing).DB().Exec(schema); err != nil {
		b.Fatal(err)
	}
	for _, kind := range []string{"existing", "new"} {
		b.Run(kind, func(b *testing.B) {
			var opened, closed []float64
			dir := b.TempDir()
			for i := 0; b.Loop(); i++ {
				cfg := dbfx.DefaultConfig()
				cfg.SQLitePath = existing
				if kind == "new" {
					cfg.SQLitePath = filepath.Join(dir, fmt.Sprint(i), "new.db")
				}
				start := time.Now()
				db, err := dbfx.Open(context.Background(), cfg)
				if err != nil {
					b.Fatal(err)
				}
				opened = append(opened, float64(time.Since(start).Microseconds())/1000)
				start = time.Now()
				if err := db.Close(context.Background()); err != nil {
					b.Fatal(err)
				}
				closed = append(closed, float64(time.Since(start).Microseconds())/1000)
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(median(opened), "ms-open")
			b.ReportMetric(median(closed), "ms-close")
		})
	}
}
