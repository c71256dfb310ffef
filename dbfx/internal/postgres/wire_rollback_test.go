package postgres_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"
)

func TestWire_RollbackIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, l *line) {
		next := map[string]func(){
			"a request":   func() {},
			"a session":   func() { l.wire.Arm("begin") },
			"the answer":  func() { drain(t, l) },
			"the answers": func() { drain(t, l); drain(t, l) },
		}
		for name, fn := range next {
			for _, query := range []string{"insert into kv values ($1, '')", "insert into missing values ($1)"} {
				l.wire.Arm("begin")
				_, _ = l.Exec(t.Context(), query, 1)
				trips := l.trips(func() {
					if err := l.wire.Leave(l.PgConn()); err != nil {
						t.Fatal(err)
					}
				})
				if trips != 1 || l.wire.Status(l.PgConn()) != "I" || !l.wire.Left() {
					t.Errorf("got %d trips, status %s", trips, l.wire.Status(l.PgConn()))
				}
				fn()
				var n int
				if err := l.QueryRow(t.Context(), "select count(*) from kv where k < $1", 9).Scan(&n); n != 0 || err != nil {
					t.Errorf("before %s: %d rows, %v", name, n, err)
				}
				if l.wire.Left() {
					t.Errorf("before %s: the answer to ROLLBACK seems on its way", name)
				}
				if name == "a session" {
					l.end(t)
				}
				l.outside(t)
			}
		}
	})
}

func drain(t *testing.T, l *line) {
	t.Helper()
	if err := l.wire.Drain(t.Context(), l.PgConn()); err != nil {
		t.Fatal(err)
	}
	if status := string(l.PgConn().TxStatus()); status != "I" {
		t.Errorf("pgx believes in status %s", status)
	}
}

// A server that ends the connection while ROLLBACK is on its way makes a session
// begin anew elsewhere, and a bare statement is never sent.
func TestWire_TheServerEndsWithRollbackOnItsWay(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, l *line) {
		other := dial(t, l.Config().ConnString(), modes[0], false)
		l.wire.Arm("begin")
		mustExec(t, l, "select 1")
		if err := l.wire.Leave(l.PgConn()); err != nil {
			t.Fatal(err)
		}
		mustExec(t, other, "select pg_terminate_backend($1::int, 10000)", int(l.PgConn().PID()))
		if err := dialAgain(t, l).wire.Drain(t.Context(), l.PgConn()); err != nil {
			t.Errorf("there is nothing to wait for, and yet %v", err)
		}
		l.wire.Arm("begin")
		if _, err := l.Exec(t.Context(), "insert into kv values ($1, '')", 1); err == nil || !l.IsClosed() || l.wire.At() == "answered" {
			t.Errorf("got %v, closed %t, %s", err, l.IsClosed(), l.wire.At())
		}
	})
}

func dialAgain(t *testing.T, l *line) *line {
	t.Helper()
	return dial(t, l.Config().ConnString(), l.Config().DefaultQueryExecMode, l.network.slow)
}

func TestWire_WaitsForTheAnswerOfADeadServerNoLongerThanItMay(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, l *line) {
		l.wire.Arm("begin")
		mustExec(t, l, "select 1")
		other := dialAgain(t, l)
		mustExec(t, other, "select pg_terminate_backend($1::int, 10000)", int(l.PgConn().PID()))
		_ = l.wire.Leave(l.PgConn()) // into the grave
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := l.wire.Drain(ctx, l.PgConn()); err == nil || ctx.Err() != nil {
			t.Errorf("got %v, %v", err, ctx.Err())
		}
	})
}

// A ROLLBACK that someone has the server cancel leaves a transaction that has failed:
// no one else may have the connection.
func TestWire_ACancelledRollbackIsNotAnEnd(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	go func() { // a server that refuses all it is asked
		raw, err := listener.Accept()
		if err != nil {
			return
		}
		server := pgproto3.NewBackend(raw, raw)
		_, err = server.ReceiveStartupMessage()
		server.Send(&pgproto3.AuthenticationOk{})
		server.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
		for err == nil && server.Flush() == nil {
			_, err = server.Receive()
			server.Send(&pgproto3.ErrorResponse{Severity: "ERROR", Code: "57014"})
			server.Send(&pgproto3.ReadyForQuery{TxStatus: 'E'})
		}
		_ = raw.Close()
	}()
	l := dial(t, "postgres://someone@"+listener.Addr().String()+"/db?sslmode=disable", pgx.QueryExecModeExec, false)
	if err := l.wire.Leave(l.PgConn()); err != nil {
		t.Fatal(err)
	}
	if err := l.wire.Drain(t.Context(), l.PgConn()); err == nil {
		t.Error("it seems to have ended the transaction")
	}
}
