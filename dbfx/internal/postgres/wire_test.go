package postgres_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/sergas/dbkit/dbfx/internal/postgres"
	"github.com/sergas/dbkit/fxtest"
)

// modes are all the ways in which pgx runs a statement.
var modes = []pgx.QueryExecMode{
	pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec,
	pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol,
}

// line is a connection of pgx with a wire, over a network that counts.
type line struct {
	*pgx.Conn
	wire    postgres.Wire
	network *network
}

// network counts the round trips: how often the client spoke after the server
// did.
type network struct {
	net.Conn
	slow  bool         // one byte at a time
	cut   atomic.Int64 // after so many bytes more; below 0 is never
	heard atomic.Bool
	trips atomic.Int64

	mu       sync.Mutex
	recorded []byte // what the server sent
}

func (n *network) Read(p []byte) (int, error) {
	if n.cut.Load() == 0 {
		return 0, io.EOF
	}
	if n.slow {
		p = p[:1]
	}
	got, err := n.Conn.Read(p)
	if left := n.cut.Load(); left >= 0 { // it may have been set meanwhile: pgx can read in the background
		got = min(got, int(left))
		n.cut.Add(int64(-got))
	}
	if got > 0 {
		n.heard.Store(true)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.recorded = append(n.recorded, p[:got]...)
	return got, err
}

func (n *network) Write(p []byte) (int, error) {
	if n.heard.Swap(false) {
		n.trips.Add(1)
	}
	return n.Conn.Write(p)
}

// dial opens a line. A slow one gets one byte at a time.
func dial(t *testing.T, url string, mode pgx.QueryExecMode, slow bool) *line {
	t.Helper()
	config, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	config.DefaultQueryExecMode = mode
	l := &line{}
	config.DialFunc = func(ctx context.Context, kind, address string) (net.Conn, error) {
		raw, err := (&net.Dialer{}).DialContext(ctx, kind, address)
		n := &network{Conn: raw, slow: slow}
		n.cut.Store(-1)
		if l.network == nil { // not the one that carries a cancel request
			l.network = n
		}
		return n, err
	}
	config.BuildFrontend = l.build
	if l.Conn, err = pgx.ConnectConfig(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = l.Close(context.Background())
		<-l.PgConn().CleanupDone()
	})
	return l
}

func (l *line) build(r io.Reader, w io.Writer) (frontend *pgproto3.Frontend) {
	l.wire, frontend = postgres.NewWire(r, w)
	return frontend
}

// trips counts the round trips of fn.
func (l *line) trips(fn func()) int64 {
	l.network.heard.Store(true)
	before := l.network.trips.Load()
	fn()
	return l.network.trips.Load() - before
}

// outside reports whether the connection is in no transaction, and answers.
func (l *line) outside(t *testing.T) {
	t.Helper()
	var id int64
	if err := l.QueryRow(t.Context(), "select 41 + $1::int", 1).Scan(&id); err != nil || id != 42 {
		t.Errorf("the connection is not in order: got %d, %v", id, err)
	}
	if status := l.wire.Status(l.PgConn()); status != "I" {
		t.Errorf("got status %s, want I", status)
	}
}

// end rolls back what is open.
func (l *line) end(t *testing.T) {
	t.Helper()
	if !l.wire.Disarm() {
		mustExec(t, l, "rollback")
	}
	l.outside(t)
}

func mustExec(t *testing.T, l *line, query string, args ...any) {
	t.Helper()
	if _, err := l.Exec(t.Context(), query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

// eachMode runs fn in each mode over a whole network, and in two over one that
// brings one byte at a time.
func eachMode(t *testing.T, fn func(t *testing.T, l *line)) {
	url := fxtest.Postgres(t).URL()
	setup := dial(t, url, modes[0], false)
	mustExec(t, setup, `create table kv (k int primary key check (k < 1000), v text);
		create view refuses as select k, v from kv union select 0, '';
		create table guarded (k int);
		create function refuse() returns trigger language plpgsql as $$begin raise 'not here'; end$$;
		create trigger guard before insert on guarded execute function refuse()`)
	_ = setup.Close(t.Context())
	for _, mode := range modes {
		for _, slow := range []bool{false, true} {
			if slow && mode != pgx.QueryExecModeCacheStatement && mode != pgx.QueryExecModeSimpleProtocol {
				continue
			}
			t.Run(strings.ReplaceAll(mode.String(), " ", "_")+map[bool]string{true: "_slowly"}[slow], func(t *testing.T) {
				fn(t, dial(t, url, mode, slow))
			})
		}
	}
}

func TestWire_BeginCostsNoTrip(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, l *line) {
		const read, write = "select v from kv where k = $1", "update kv set v = v where k = $1"
		exec := func(query string, args ...any) func() { return func() { mustExec(t, l, query, args...) } }
		selects := func() {
			rows, err := l.Query(t.Context(), read, 1)
			if err == nil {
				rows.Close()
				err = rows.Err()
			}
			if err != nil {
				t.Error(err)
			}
		}
		alone := map[string]int64{}
		tests := []struct {
			name string
			work func()
		}{
			{"select", selects}, {"update", exec(write, 1)}, {"without arguments", exec("select 1")}, {"an empty one", exec("")},
			{"savepoint", exec("savepoint a")}, {"several", exec("set local lock_timeout = 1; select 1; select 2")},
			{"listen", exec("listen something")},
			{"prepare", func() {
				if _, err := l.Prepare(t.Context(), "named", read); err != nil {
					t.Error(err)
				}
				if err := l.Deallocate(t.Context(), "named"); err != nil {
					t.Error(err)
				}
			}},
		}
		for _, tt := range tests {
			mustExec(t, l, "begin")
			tt.work() // fills the caches
			mustExec(t, l, "rollback")
			mustExec(t, l, "begin")
			alone[tt.name] = l.trips(tt.work)
			mustExec(t, l, "rollback")
			for _, begin := range [][]string{
				{"begin"}, {"begin isolation level serializable read write", "set local lock_timeout = 7", "show transaction_read_only"},
			} {
				l.wire.Arm(begin...)
				if got := l.trips(tt.work); got != alone[tt.name] {
					t.Errorf("%s: BEGIN made %d trips of %d", tt.name, got, alone[tt.name])
				}
				if status := l.wire.Status(l.PgConn()); status != "T" || l.wire.At() != "answered" {
					t.Errorf("%s: got status %s, %s, want a transaction", tt.name, status, l.wire.At())
				}
				l.end(t)
			}
		}
	})
}

// isCode reports whether err is the server's, with this SQLSTATE.
func isCode(err error, code string) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == code
}

func TestWire_ErrorsAreThoseOfTheStatement(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, l *line) {
		tests := []struct {
			query string
			args  []any
			code  string
		}{
			{"selekt 1", nil, "42601"}, {"selekt $1::int", []any{1}, "42601"},
			{"select * from missing", nil, "42P01"}, {"select * from missing where a = $1::int", []any{1}, "42P01"},
			{"insert into kv values ($1, 'x')", []any{5000}, "23514"}, {"insert into kv values (5000, 'x')", nil, "23514"},
			{"select 1 / $1::int", []any{0}, "22012"}, {"select 1; select 1/0; select 2", nil, "22012"},
		}
		for _, tt := range tests {
			l.wire.Arm("begin")
			_, err := l.Exec(t.Context(), tt.query, tt.args...)
			if !isCode(err, tt.code) {
				t.Errorf("%s: got %v, want %s", tt.query, err, tt.code)
			}
			if status := l.wire.Status(l.PgConn()); status != "E" {
				t.Errorf("%s: got status %s, want E: BEGIN has run", tt.query, status)
			}
			if _, err := l.Exec(t.Context(), "select 1"); !isCode(err, "25P02") {
				t.Errorf("%s: the next statement got %v, want 25P02", tt.query, err)
			}
			l.end(t)
		}
		l.wire.Arm("begin read only")
		if _, err := l.Exec(t.Context(), "insert into kv values (1, 'x')"); !isCode(err, "25006") {
			t.Errorf("in a transaction that only reads: got %v", err)
		}
		l.end(t)
	})
}

func TestWire_ArgumentsThatCannotBeSentLeaveATransaction(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, l *line) {
		for _, args := range [][]any{{make(chan int)}, {1, 2}} {
			l.wire.Arm("begin")
			if _, err := l.Exec(t.Context(), "insert into kv values ($1, 'x')", args...); err == nil {
				t.Fatal("the arguments were taken")
			}
			if status := l.wire.Status(l.PgConn()); status != "T" && !(status == "E" && len(args) == 2) { // the server counts in exec mode
				t.Errorf("got status %s, want a transaction", status)
			}
			if l.wire.Status(l.PgConn()) == "T" {
				mustExec(t, l, "insert into kv values (1, 'in the transaction')")
			}
			l.end(t)
			var n int
			if err := l.QueryRow(t.Context(), "select count(*) from kv").Scan(&n); n != 0 || err != nil {
				t.Errorf("%d rows outside of a transaction, %v", n, err)
			}
		}
	})
}
