package fxtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sergas/dbkit/dbfx"
)

// Postgres returns the settings of an empty database of the test's own. The
// database is dropped when the test ends; a connection that is still open then
// fails the test.
//
// The database of a failed test stays on a server that DBFX_TEST_POSTGRES_URL
// names, until the next run. A private server ends with the test binary, unless
// DBFX_TEST_KEEP=1 keeps it. The test's log says how to open the database.
func Postgres(tb testing.TB) dbfx.Config {
	tb.Helper()
	return needServer(tb).database(tb, "template0")
}

func needServer(tb testing.TB) *server {
	tb.Helper()
	server, err := findServer()
	if err != nil {
		if os.Getenv("CI") != "" || os.Getenv("DBFX_TEST_REQUIRE_POSTGRES") == "1" || os.Getenv("DBFX_TEST_POSTGRES_URL") != "" {
			tb.Fatalf("fxtest: PostgreSQL is required here: %v", err)
		}
		tb.Skipf("fxtest: no PostgreSQL: %v", err)
	}
	return server
}

// database makes a database for the life of the test.
func (s *server) database(tb testing.TB, template string) dbfx.Config {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	name, err := s.create(ctx, template)
	if err != nil {
		tb.Fatalf("fxtest: create a database: %v", err)
	}
	tb.Cleanup(func() { s.finish(tb, name) })
	return s.config(name)
}

// finish looks for what the test left, and drops its database or keeps it. A test
// that has failed has said enough.
func (s *server) finish(tb testing.TB, name string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if s.kept(tb, name) {
		return
	}
	var left []string
	err := s.asAdmin(ctx, func(conn *pgx.Conn) (err error) {
		if !tb.Failed() {
			if left, err = leftIn(ctx, conn, name); err != nil {
				return err
			}
		}
		return drop(ctx, conn, name)
	})
	if err != nil {
		tb.Errorf("fxtest: drop database %s: %v", name, err)
	}
	if len(left) > 0 {
		tb.Errorf("fxtest: the test left %d connections to its database:\n\t%s", len(left), strings.Join(left, "\n\t"))
	}
}

// findServer finds a server once per test binary. Nothing ends it: its watchdog
// does so when this process is gone.
var findServer = sync.OnceValues(func() (*server, error) {
	if text := os.Getenv("DBFX_TEST_POSTGRES_URL"); text != "" {
		return externalServer(text)
	}
	bin, err := findBinaries()
	if err != nil {
		return nil, err
	}
	s, err := startServer(bin)
	if err == nil {
		s.keepAdmins()
	}
	return s, err
})

// server is where tests get their databases.
type server struct {
	admin  string         // URL of a user who may create databases
	admins chan *pgx.Conn // connections of that user; nil are those that are not open yet
	config func(database string) dbfx.Config

	shared  bool      // it outlives this process
	claimed *pgx.Conn // has the name of this run

	life  io.WriteCloser // a private server ends when it is closed
	again func() error   // starts it once more
	pid   string         // its postmaster.pid

	bin, password string
	port          int
	who           credential
}

func externalServer(text string) (*server, error) {
	cfg := dbfx.DefaultConfig()
	cfg.DatabaseURL = dbfx.NewSecret(text)
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("DBFX_TEST_POSTGRES_URL: %w", err)
	}
	parsed, err := url.Parse(cfg.URL())
	if err != nil || cfg.Dialect() != dbfx.Postgres {
		return nil, errors.New("DBFX_TEST_POSTGRES_URL: want the URL of one PostgreSQL host") // err quotes the URL
	}
	s := &server{admin: parsed.String(), shared: true, config: func(database string) dbfx.Config {
		own := *parsed
		own.Path = "/" + database
		cfg := dbfx.DefaultConfig()
		cfg.DatabaseURL = dbfx.NewSecret(own.String())
		return cfg
	}}
	s.keepAdmins()
	return s, s.claim()
}

// claim has a connection of this run's name until the process ends, and clears away
// what runs before it have left.
func (s *server) claim() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.admin)
	if err != nil {
		return errors.New("DBFX_TEST_POSTGRES_URL: the server cannot be reached, or refuses") // err may quote the URL
	}
	if _, err := conn.Exec(ctx, "select set_config('application_name', $1, false)", thisRun); err != nil {
		return fmt.Errorf("DBFX_TEST_POSTGRES_URL: %w", err)
	}
	s.claimed = conn // stays open: the name goes with it
	return strayRuns(ctx, conn)
}

var counter atomic.Int64

// create makes a database from a template. A copy of template0's files takes half
// the time of the default way through the log, a third where many are made at once.
func (s *server) create(ctx context.Context, template string) (string, error) {
	name := fmt.Sprintf("%s_%d", thisRun, counter.Add(1))
	return name, s.asAdmin(ctx, func(conn *pgx.Conn) error {
		query := "create database " + name + " template " + template
		if version := conn.PgConn().ParameterStatus("server_version"); !olderThan15(version) {
			query += " strategy file_copy"
		}
		_, err := conn.Exec(ctx, query)
		return err
	})
}

func olderThan15(version string) bool {
	var major int
	_, err := fmt.Sscanf(version, "%d", &major)
	return err != nil || major < 15
}

// drop drops the database, also where it is in use.
func drop(ctx context.Context, conn *pgx.Conn, name string) error {
	query := "drop database if exists " + name
	if version := conn.PgConn().ParameterStatus("server_version"); !strings.HasPrefix(version, "12") {
		query += " with (force)"
	}
	_, err := conn.Exec(ctx, query)
	return err
}

// leftIn returns the connections that the database still has. A backend needs a
// moment to end after its client has gone.
func leftIn(ctx context.Context, conn *pgx.Conn, name string) (left []string, err error) {
	g := newGrace(time.Now(), 25)
	for pause := 2 * time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		before := len(left)
		if left, err = connections(ctx, conn, name); err != nil {
			return nil, err
		}
		if len(left) < before { // others still end
			g = newGrace(time.Now(), 25)
		}
		if len(left) == 0 || g.over(time.Now()) {
			return left, nil
		}
		if _, err := conn.Exec(ctx, "select pg_sleep($1)", pause.Seconds()); err != nil {
			return left, err
		}
	}
}

// connections describes who is connected to the database.
func connections(ctx context.Context, conn *pgx.Conn, database string) ([]string, error) {
	rows, err := conn.Query(ctx, `select format('%s, %s since %s ms: %s', application_name, state,
		(extract(epoch from clock_timestamp() - state_change) * 1000)::bigint, left(query, 200))
		from pg_stat_activity where datname = $1 and pid <> pg_backend_pid()`, database)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

func isInUse(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == "55006"
}

func isForbidden(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == "42501"
}
