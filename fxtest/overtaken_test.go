package fxtest_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

// overtaking stands before a PostgreSQL, and holds what has word in it back until a
// cancel request has arrived there: a network may deliver them in that order.
func overtaking(t *testing.T, cfg dbfx.Config, word string) dbfx.Config {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := net.JoinHostPort(cfg.Host, strconv.Itoa(cfg.Port))
	cancelled, ended := make(chan struct{}), make(chan struct{})
	var once sync.Once
	var wg sync.WaitGroup
	pass := func(client net.Conn) {
		defer func() { _ = client.Close() }()
		server, err := net.Dial("tcp", address)
		if err != nil {
			return
		}
		defer func() { _ = server.Close() }()
		wg.Go(func() {
			_, _ = io.Copy(client, server)
			_ = client.Close()
		})
		for part := make([]byte, 1<<16); ; {
			n, err := client.Read(part)
			if err != nil {
				return
			}
			isCancel := n >= 8 && binary.BigEndian.Uint32(part[4:]) == 80877102
			if bytes.Contains(part[:n], []byte(word)) {
				select {
				case <-cancelled:
				case <-ended:
					return
				}
			}
			if _, err := server.Write(part[:n]); err != nil {
				return
			}
			if isCancel {
				_, _ = server.Read(part) // the server closes when it has seen to it
				once.Do(func() { close(cancelled) })
				return
			}
		}
	}
	wg.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { pass(client) })
		}
	})
	t.Cleanup(func() {
		close(ended)
		_ = l.Close()
		wg.Wait()
	})
	cfg.SSLMode, cfg.Port = "disable", l.Addr().(*net.TCPAddr).Port
	return cfg
}

// TestPostgres_ACancelThatOvertakesItsStatementIsRepeated: the server would keep the
// row locked for as long as the statement runs.
func TestPostgres_ACancelThatOvertakesItsStatementIsRepeated(t *testing.T) {
	t.Parallel()
	direct := fxtest.Postgres(t)
	truth := fxtest.New(t, fxtest.Use(direct))
	if _, err := truth.DB.ExecContext(t.Context(), "create table kv (k text primary key, v integer)"); err != nil {
		t.Fatal(err)
	}
	db := open(t, overtaking(t, direct, "pg_sleep"))
	err := db.Sessions().Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
		if err := put(ctx, tx, "a", 1); err != nil {
			return err
		}
		bound, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		defer cancel()
		_, err := tx.ExecContext(bound, "select pg_sleep(1000)")
		return err
	})
	if !dbfx.IsTimeout(err) {
		t.Errorf("got %v, want the end of the statement's context", err)
	}
	if err := put(t.Context(), truth.DB, "a", 2); err != nil { // waits for the row
		t.Error(err)
	}
}
