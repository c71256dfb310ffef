package fxtest_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

var migrations atomic.Int64 // the two engines migrate at once

var migrated = fxtest.NewTemplate(func(ctx context.Context, db *dbfx.Database) error {
	migrations.Add(1)
	return db.Schema().Init(ctx, fstest.MapFS{"1.sql": {Data: []byte("create table people (name text); insert into people values ('Ada');")}})
})

func TestTemplate_CopiesOneMigration(t *testing.T) {
	t.Parallel()
	t.Run("tests", func(t *testing.T) {
		for range 5 {
			migrated.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
				app := fxtest.New(t, fxtest.Use(cfg))
				var n int
				err := app.DB.QueryRowContext(t.Context(), "select count(*) from people").Scan(&n)
				if err != nil || n != 1 {
					t.Errorf("got %d, %v", n, err)
				}
				if _, err := app.DB.ExecContext(t.Context(), "delete from people"); err != nil {
					t.Error(err)
				}
			})
		}
	})
	if n := migrations.Load(); n > 2 {
		t.Errorf("migrated %d times", n)
	}
}

var (
	failing    *testing.T
	unreturned = fxtest.NewTemplate(func(context.Context, *dbfx.Database) error {
		failing.FailNow()
		return nil
	})
)

// TestTemplate_WithoutAMigrationIsNotCopied: each use fails, and not the first alone.
func TestTemplate_WithoutAMigrationIsNotCopied(t *testing.T) {
	if childPart() {
		for i := range 2 {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				failing = t
				unreturned.SQLite(t)
				fmt.Println("it has a database")
			})
		}
		return
	}
	t.Parallel()
	out, _ := child(t).CombinedOutput()
	if strings.Contains(string(out), "it has a database") || !strings.Contains(string(out), "did not return") {
		t.Errorf("got\n%s", out)
	}
}

func BenchmarkTemplate_FreshMigratedDatabase(b *testing.B) {
	for name, fresh := range map[string]func(testing.TB) dbfx.Config{"sqlite": migrated.SQLite, "postgresql": migrated.Postgres} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				fresh(b)
			}
		})
	}
}

// TestTemplate_CopiesOverFewConnections: a new connection costs the server more
// than a copy.
func TestTemplate_CopiesOverFewConnections(t *testing.T) {
	if childPart() {
		t.Run("tests", func(t *testing.T) {
			for i := range 20 {
				t.Run(fmt.Sprint(i), func(t *testing.T) {
					t.Parallel()
					migrated.Postgres(t)
				})
			}
		})
		conn, err := pgx.Connect(t.Context(), fxtest.Postgres(t).URL())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close(t.Context()) }()
		var sessions int
		query := "select sessions from pg_stat_database where datname = 'postgres'"
		if err := conn.QueryRow(t.Context(), query).Scan(&sessions); err != nil || sessions > 4 {
			t.Errorf("20 databases took %d connections, %v", sessions, err)
		}
		return
	}
	t.Parallel()
	fxtest.Postmaster(t) // skips where there is no private server
	if out, err := child(t).CombinedOutput(); err != nil {
		t.Errorf("got %v\n%s", err, out)
	}
}
