package fxtest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/sergas/dbkit/dbfx"
)

// Template is a schema that is made once in a test binary and copied for each
// test: a file copy on SQLite, CREATE DATABASE … TEMPLATE on PostgreSQL.
//
//	var migrated = fxtest.NewTemplate(func(ctx context.Context, db *dbfx.Database) error {
//		return db.Schema().Init(ctx, schema)
//	})
//
//	func TestStore(t *testing.T) {
//		migrated.EachEngine(t, func(t *testing.T, cfg dbfx.Config) { … })
//	}
//
// It is safe for concurrent use; make it a package variable.
type Template struct {
	migrate func(ctx context.Context, db *dbfx.Database) error

	sqlite struct {
		sync.Once
		file []byte
		err  error
	}
	postgres struct {
		sync.Once
		name string
		err  error
	}
}

// NewTemplate returns a Template that migrate fills, at its first use on each
// engine, through a database that is opened and closed for that.
func NewTemplate(migrate func(ctx context.Context, db *dbfx.Database) error) *Template {
	return &Template{migrate: migrate}
}

// EachEngine is [EachEngine] with migrated databases.
func (t *Template) EachEngine(tt *testing.T, fn func(t *testing.T, cfg dbfx.Config)) {
	tt.Helper()
	eachEngine(tt, t.SQLite, t.Postgres, fn)
}

// SQLite is [SQLite] with a copy of the template.
func (t *Template) SQLite(tb testing.TB) dbfx.Config {
	tb.Helper()
	t.sqlite.Do(func() {
		t.sqlite.err = errNoReturn
		t.sqlite.file, t.sqlite.err = t.makeSQLite()
	})
	if t.sqlite.err != nil {
		tb.Fatalf("fxtest: migrate the SQLite template: %v", t.sqlite.err)
	}
	cfg := SQLite(tb)
	if err := os.WriteFile(cfg.SQLitePath, t.sqlite.file, 0o600); err != nil {
		tb.Fatal(err)
	}
	return cfg
}

// Postgres is [Postgres] with a copy of the template.
func (t *Template) Postgres(tb testing.TB) dbfx.Config {
	tb.Helper()
	server := needServer(tb)
	t.postgres.Do(func() {
		t.postgres.err = errNoReturn
		t.postgres.name, t.postgres.err = t.makePostgres(server)
	})
	if t.postgres.err != nil {
		tb.Fatalf("fxtest: migrate the PostgreSQL template: %v", t.postgres.err)
	}
	return server.database(tb, t.postgres.name)
}

// errNoReturn stays where migrate ends its goroutine, as the FailNow of a test does.
var errNoReturn = errors.New("the function of NewTemplate did not return")

func (t *Template) fill(cfg dbfx.Config) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	db, err := dbfx.Open(ctx, cfg)
	if err != nil {
		return err
	}
	err = t.migrate(ctx, db)
	if closeErr := db.Close(ctx); err == nil {
		err = closeErr
	}
	return err
}

// makeSQLite returns the bytes of the closed file, into which the WAL has gone.
func (t *Template) makeSQLite() ([]byte, error) {
	dir, err := os.MkdirTemp(ownDir(), "template-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	cfg := dbfx.DefaultConfig()
	cfg.SQLitePath = filepath.Join(dir, "template.db")
	if err := t.fill(cfg); err != nil {
		return nil, err
	}
	if info, err := os.Stat(cfg.SQLitePath + "-wal"); err == nil && info.Size() > 0 {
		return nil, fmt.Errorf("%d bytes stayed in the WAL: the migration left a connection open", info.Size())
	}
	f, err := os.Open(cfg.SQLitePath)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return io.ReadAll(f)
}

// makePostgres returns the name of the template, which goes with the server, or
// where the server stays with the next run that finds this process gone.
func (t *Template) makePostgres(s *server) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	name, err := s.create(ctx, "template0")
	if err != nil {
		return "", err
	}
	if err := t.fill(s.config(name)); err != nil {
		dropErr := s.asAdmin(ctx, func(conn *pgx.Conn) error { return drop(ctx, conn, name) })
		if dropErr != nil {
			err = fmt.Errorf("%w (and drop the template: %w)", err, dropErr)
		}
		return "", err
	}
	return name, nil
}

// strayRuns drops the databases of test runs whose processes are gone from a
// server that outlives them. Each run has a connection of its own name for as long
// as its process lives.
func strayRuns(ctx context.Context, conn *pgx.Conn) error {
	list := func(query string) ([]string, error) {
		rows, err := conn.Query(ctx, query)
		if err != nil {
			return nil, err
		}
		return pgx.CollectRows(rows, pgx.RowTo[string])
	}
	databases, err := list(`select datname from pg_database where datname like 'dbfx\_t\_%' and not datistemplate`)
	if err != nil {
		return err
	}
	living, err := list("select application_name from pg_stat_activity where application_name <> ''")
	if err != nil {
		return err
	}
	for _, name := range databases {
		if slices.Contains(living, runOf(name)) {
			continue
		}
		_, err := conn.Exec(ctx, "drop database if exists "+pgx.Identifier{name}.Sanitize())
		if err != nil && !isInUse(err) && !isForbidden(err) { // someone looks at what a failed test has kept, or it is another role's
			return err
		}
	}
	return nil
}

// runOf returns the part of a database's name that all of one run have.
func runOf(database string) string { return database[:max(strings.LastIndexByte(database, '_'), 0)] }

// thisRun begins the names of this process's databases.
var thisRun = "dbfx_t_" + strings.ToLower(rand.Text()[:12])
