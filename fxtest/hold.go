package fxtest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	_ "modernc.org/sqlite" // the driver of another program, so to speak

	"github.com/sergas/dbkit/dbfx"
)

// Hold takes the write lock of the database from outside of the application, as
// another program would: on SQLite the one of the file, on PostgreSQL an EXCLUSIVE
// lock on each table of the user's schema. Readers go on; writers wait. It is held
// until release is called, or the test ends. A SQLite database in memory has no such
// lock: there Hold fails the test.
//
//	release := fxtest.Hold(t, cfg)
//	response := post(t, app, "/orders", order) // 503, and how soon?
//	release()
func Hold(tb testing.TB, cfg dbfx.Config) (release func()) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	hold := holdSQLite
	if cfg.Dialect() == dbfx.Postgres {
		hold = holdPostgres
	}
	end, err := hold(ctx, cfg)
	if err != nil {
		tb.Fatalf("fxtest: Hold: %v", err)
	}
	release = sync.OnceFunc(func() {
		if err := end(); err != nil {
			tb.Errorf("fxtest: release what Hold holds: %v", err)
		}
	})
	tb.Cleanup(release)
	return release
}

func holdSQLite(ctx context.Context, cfg dbfx.Config) (func() error, error) {
	if cfg.File() == "" {
		return nil, errors.New("a database in memory has no lock that another program could take")
	}
	path := filepath.ToSlash(cfg.File())
	if !strings.HasPrefix(path, "/") { // C:/…
		path = "/" + path
	}
	file := url.URL{Scheme: "file", Path: path, RawQuery: "_pragma=busy_timeout(10000)"}
	db, err := sql.Open("sqlite", file.String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1) // BEGIN and ROLLBACK are for one connection
	if _, err := db.ExecContext(ctx, "begin immediate"); err != nil {
		_ = db.Close()
		return nil, err
	}
	return func() error {
		_, err := db.ExecContext(context.Background(), "rollback")
		if closeErr := db.Close(); err == nil {
			err = closeErr
		}
		return err
	}, nil
}

func holdPostgres(ctx context.Context, cfg dbfx.Config) (func() error, error) {
	conn, err := pgx.Connect(ctx, cfg.URL())
	if err != nil {
		return nil, err
	}
	end := func() error {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_, _ = conn.Exec(ctx, "rollback") // the locks are free when it returns; Close does not wait for that
		return conn.Close(ctx)
	}
	err = func() error {
		rows, err := conn.Query(ctx, "select format('%I.%I', schemaname, tablename) from pg_tables where schemaname = any (current_schemas(false)) order by 1")
		if err != nil {
			return err
		}
		tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err
		}
		if len(tables) == 0 {
			return fmt.Errorf("there is no table to lock yet")
		}
		if _, err := conn.Exec(ctx, "begin"); err != nil {
			return err
		}
		_, err = conn.Exec(ctx, "lock table "+strings.Join(tables, ", ")+" in exclusive mode")
		return err
	}()
	if err != nil {
		_ = end()
		return nil, err
	}
	return end, nil
}
