package postgres_test

import (
	"context"
	"encoding/binary"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/sergas/dbkit/fxtest"
)

// cuts returns the places in what a server sent where the line is to be cut:
// before and within each message, and behind the last.
func cuts(sent []byte) (places []int, first int) {
	for i := 0; i < len(sent); {
		size := 1 + int(binary.BigEndian.Uint32(sent[i+1:]))
		places = append(places, i, i+size-1)
		if i == 0 {
			first = size
		}
		i += size
	}
	return append(places, len(sent)), first
}

func TestWire_TheLineIsCutAfterEveryMessage(t *testing.T) {
	t.Parallel()
	url := fxtest.Postgres(t).URL()
	mustExec(t, dial(t, url, modes[0], false), "create table kv (k int, v text)")
	work := map[string]func(l *line) error{
		"with an argument": func(l *line) error {
			_, err := l.Exec(t.Context(), "insert into kv values ($1, '')", 1)
			return err
		},
		"without one": func(l *line) error {
			_, err := l.Exec(t.Context(), "insert into kv values (1, '')")
			return err
		},
		"rows": func(l *line) error {
			rows, err := l.Query(t.Context(), "select $1::int from generate_series(1, 3)", 1)
			if err != nil {
				return err
			}
			rows.Close()
			return rows.Err()
		},
		"refused": func(l *line) error {
			_, err := l.Exec(t.Context(), "insert into missing values (1)")
			return err
		},
	}
	for _, mode := range modes {
		for name, fn := range work {
			t.Run(strings.ReplaceAll(mode.String(), " ", "_")+"/"+name, func(t *testing.T) {
				t.Parallel()
				whole := dial(t, url, mode, false)
				whole.network.recorded = nil
				whole.wire.Arm("begin")
				wantErr := fn(whole)
				places, first := cuts(whole.network.recorded)
				for _, place := range places {
					l := dial(t, url, mode, false)
					l.wire.Arm("begin")
					l.network.cut.Store(int64(place))
					err := fn(l)
					if place == len(whole.network.recorded) {
						if (err == nil) != (wantErr == nil) {
							t.Errorf("all has come: got %v, want %v", err, wantErr)
						}
					} else if err == nil || !l.IsClosed() {
						t.Errorf("cut after %d bytes: got %v, closed %t", place, err, l.IsClosed())
					}
					if want := map[bool]string{true: "sent", false: "answered"}[place < first]; l.wire.At() != want {
						t.Errorf("cut after %d bytes: got %s, want %s", place, l.wire.At(), want)
					}
				}
			})
		}
	}
	t.Cleanup(func() {
		var n int
		if err := dialOnce(url, &n, "select count(*) from kv"); n != 0 || err != nil {
			t.Errorf("%d rows were committed, %v", n, err)
		}
	})
}

func dialOnce(url string, to any, query string) error {
	conn, err := pgx.Connect(context.Background(), url)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.Background()) }()
	return conn.QueryRow(context.Background(), query).Scan(to)
}

// Servers end connections at any time, while pgx says its farewells in goroutines
// of its own: no statement runs outside of its transaction.
func TestWire_ServersThatEndConnections(t *testing.T) {
	t.Parallel()
	url := fxtest.Postgres(t).URL()
	mustExec(t, dial(t, url, modes[0], false), "create table kv (k int, v text)")
	ended := make(chan struct{})
	var killer, workers sync.WaitGroup
	killer.Go(func() {
		l := dial(t, url, modes[0], false)
		for {
			select {
			case <-ended:
				return
			default:
				mustExec(t, l, `select pg_terminate_backend(pid) from pg_stat_activity
					where datname = current_database() and pid <> pg_backend_pid() and random() < 0.3`)
			}
		}
	})
	for i := range 6 {
		workers.Go(func() {
			for range 12 {
				config, err := pgx.ParseConfig(url)
				if err != nil {
					t.Error(err)
					return
				}
				config.DefaultQueryExecMode = modes[i%len(modes)]
				chased(t, config)
			}
		})
	}
	workers.Wait()
	close(ended)
	killer.Wait()
	var n int
	if err := dialOnce(url, &n, "select count(*) from kv"); n != 0 || err != nil {
		t.Errorf("%d rows outside of a transaction, %v", n, err)
	}
}

// chased runs sessions on one connection until something ends it.
func chased(t *testing.T, config *pgx.ConnConfig) {
	l := &line{}
	config.BuildFrontend = l.build
	var err error
	if l.Conn, err = pgx.ConnectConfig(context.Background(), config); err != nil {
		return
	}
	for range 100 {
		l.wire.Arm("begin")
		if _, err = l.Exec(context.Background(), "insert into kv values ($1, '')", 1); err != nil {
			break
		}
		if _, err = l.Exec(context.Background(), "insert into kv values (2, '')"); err != nil {
			break
		}
		if err = l.wire.Leave(l.PgConn()); err != nil {
			break
		}
	}
	if err == nil || l.wire.At() == "armed" {
		t.Logf("a connection that no one ended: %v, %s", err, l.wire.At())
	}
	_ = l.Close(context.Background())
	<-l.PgConn().CleanupDone()
}

func TestWire_ContextsThatEnd(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, l *line) {
		done, cancel := context.WithCancel(t.Context())
		cancel()
		l.wire.Arm("begin")
		if _, err := l.Exec(done, "insert into kv values (1, 'x')"); !errors.Is(err, context.Canceled) || l.wire.At() != "armed" {
			t.Errorf("a context that had ended: got %v, %s", err, l.wire.At())
		}
		late, cancel := context.WithCancel(t.Context())
		defer cancel()
		looking, stop := context.WithCancel(t.Context())
		other := dialAgain(t, l)
		var watching sync.WaitGroup
		watching.Go(func() { // the context ends while the server works
			var asleep bool
			for err := error(nil); err == nil && !asleep; {
				err = other.QueryRow(looking, "select exists (select from pg_stat_activity where pid = $1 and wait_event = 'PgSleep')", int(l.PgConn().PID())).Scan(&asleep)
			}
			cancel()
		})
		if _, err := l.Exec(late, "select pg_sleep(60)"); !errors.Is(err, context.Canceled) || !l.IsClosed() {
			t.Errorf("a context that ends: got %v, closed %t", err, l.IsClosed())
		}
		stop() // where it never slept
		watching.Wait()
	})
}
