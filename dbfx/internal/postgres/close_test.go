package postgres

import (
	"errors"
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

// rollbackSent returns a connection whose ROLLBACK the server has got and not answered,
// and the server's end of it. Nothing else is answered by that server.
func rollbackSent(t *testing.T) (*connector, *conn, net.Conn, *pgproto3.Backend) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	connector := newConnector(&Options{
		Hosts: []Host{{"127.0.0.1", listener.Addr().(*net.TCPAddr).Port}}, User: "someone", Database: "db",
		Args: map[string]string{"sslmode": "disable"}, ConnectTimeout: time.Hour,
	})
	t.Cleanup(func() { _ = connector.Close() })
	type end struct {
		line   net.Conn
		server *pgproto3.Backend
		err    error
	}
	ends := make(chan end, 1)
	go func() {
		line, err := listener.Accept()
		if err != nil {
			ends <- end{err: err}
			return
		}
		server := pgproto3.NewBackend(line, line)
		_, err = server.ReceiveStartupMessage()
		server.Send(&pgproto3.AuthenticationOk{})
		server.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
		ends <- end{line, server, errors.Join(err, server.Flush())}
	}()
	c, err := connector.take(t.Context())
	there := <-ends
	if err = errors.Join(err, there.err); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = there.line.Close() })
	if err := c.wire.leave(c.stdConn.Conn().PgConn(), time.Hour); err != nil {
		t.Fatal(err)
	}
	if asked, err := there.server.Receive(); err != nil {
		t.Fatalf("%T, %v", asked, err)
	}
	return connector, c, there.line, there.server
}

// nothingComes says what has come from the client, nil if nothing has.
func nothingComes(line net.Conn, server *pgproto3.Backend) error {
	_ = line.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	said, err := server.Receive()
	_ = line.SetReadDeadline(time.Time{})
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("the line has ended: %T, %v", said, err)
	}
	return nil
}

// TestConn_CloseWaitsForNoRollback, which database/sql would do in the middle of a
// checkout. The answer is read all the same.
func TestConn_CloseWaitsForNoRollback(t *testing.T) {
	t.Parallel()
	var errs []error
	for range 3 { // on a machine that stands still for two seconds
		_, c, line, server := rollbackSent(t)
		_ = c.Close()
		err := nothingComes(line, server)
		if err == nil {
			server.Send(&pgproto3.CommandComplete{CommandTag: []byte("ROLLBACK")})
			server.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
			err = server.Flush()
		}
		if err == nil {
			var said pgproto3.FrontendMessage
			said, err = server.Receive()
			if _, farewell := said.(*pgproto3.Terminate); farewell {
				return
			}
		}
		errs = append(errs, err)
	}
	t.Error(errors.Join(errs...))
}

// TestConn_AnUnansweredRollbackEndsWithThePool: the pool's Close waits for the end of
// the connection, and not for the answer.
func TestConn_AnUnansweredRollbackEndsWithThePool(t *testing.T) {
	t.Parallel()
	connector, c, _, _ := rollbackSent(t)
	_ = c.Close()
	_ = connector.Close()
	if alive(connector) != 0 || !c.stdConn.Conn().IsClosed() {
		t.Error("the connection is open yet")
	}
}

func alive(c *connector) int {
	c.supply.mu.Lock()
	defer c.supply.mu.Unlock()
	return c.supply.alive
}

// TestConn_AfterThePoolsEndNothingIsLeft: a connection that goes back late is ended at once.
func TestConn_AfterThePoolsEndNothingIsLeft(t *testing.T) {
	t.Parallel()
	connector, c, _, _ := rollbackSent(t)
	_ = connector.Close()
	_ = c.Close()
	if !c.stdConn.Conn().IsClosed() {
		t.Error("the connection is open yet")
	}
}
