package bench

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

// BenchmarkSQLAlchemy is select and update in a session, one worker, in Run and on
// SQLAlchemy's async engine with aiosqlite or asyncpg, turn by turn: how many times
// as long the latter takes. It wants Debian's python3-sqlalchemy, -aiosqlite and
// -asyncpg.
func BenchmarkSQLAlchemy(b *testing.B) {
	if err := exec.Command("/usr/bin/python3", "-c", "import sqlalchemy, aiosqlite, asyncpg").Run(); err != nil {
		b.Skip("no SQLAlchemy")
	}
	file := dbfx.DefaultConfig()
	file.SQLitePath = filepath.Join(b.TempDir(), "a.db")
	for _, cfg := range []dbfx.Config{file, fxtest.Postgres(b)} {
		b.Run(string(cfg.Dialect()), func(b *testing.B) {
			db, err := dbfx.Open(b.Context(), cfg)
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { _ = db.Close(context.Background()) })
			fill(b, db.DB())
			theirs := sqlAlchemy(b, cfg.SQLAlchemyURL(true))
			const sessions = 100
			var ratios []float64
			n := 0
			for b.Loop() {
				start := time.Now()
				for range sessions {
					n++
					err := db.Sessions().Run(b.Context(), func(ctx context.Context, tx *dbfx.Session) error {
						var v int
						if err := tx.QueryRowContext(ctx, "select v from kv where k = $1", 1+n%1000).Scan(&v); err != nil {
							return err
						}
						_, err := tx.ExecContext(ctx, "update kv set v = $1 where k = $2", v+1, 1+n%1000)
						return err
					})
					if err != nil {
						b.Fatal(err)
					}
				}
				ours := time.Since(start).Seconds()
				ratios = append(ratios, theirs(sessions)/ours)
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(median(ratios), "x-SQLAlchemy")
		})
	}
}

func fill(b *testing.B, db *sql.DB) {
	b.Helper()
	if _, err := db.Exec("create table kv (k integer primary key, v integer not null)"); err != nil {
		b.Fatal(err)
	}
	for k := range 1000 {
		if _, err := db.Exec("insert into kv values ($1, 0)", k+1); err != nil {
			b.Fatal(err)
		}
	}
}

// sqlAlchemy starts sessions.py, and returns how many seconds it takes for a
// number of sessions.
func sqlAlchemy(b *testing.B, url string) func(sessions int) float64 {
	b.Helper()
	cmd := exec.Command("/usr/bin/python3", "sessions.py", url)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _, _ = stdin.Close(), cmd.Wait() })
	answers := bufio.NewReader(stdout)
	return func(sessions int) float64 {
		fmt.Fprintln(stdin, sessions)
		line, err := answers.ReadString('\n')
		if err != nil {
			b.Fatal(err)
		}
		took, err := strconv.ParseFloat(strings.TrimSpace(line), 64)
		if err != nil {
			b.Fatal(err)
		}
		return took
	}
}
