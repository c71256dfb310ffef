package postgres_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// A COPY FROM swallows what comes behind its query, or does not, depending on
// how far it gets: whoever counts on either loses the connection's place.
func TestWire_CopyKeepsThePlace(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, l *line) {
		many := strings.Repeat("1\tx\n", 50_000)
		tests := []struct {
			query, data, code string
		}{
			{"copy kv from stdin", "1\ta\n2\tb\n", ""}, {"copy kv from stdin", "", ""},
			{"copy kv from stdin", "1\ta\nnonsense\n", "22P02"}, {"copy kv from stdin", many, "23505"},
			{"copy missing from stdin", "1\n", "42P01"}, {"copy missing from stdin", many, "42P01"},
			{"copy refuses from stdin", "1\ta\n", "42809"}, {"copy guarded from stdin", "1\n", "P0001"},
			{"copy guarded from stdin", many, "P0001"}, {"copy kv from nonsense", many, "42601"},
			{"select 1; copy kv from stdin; select 2", "1\ta\n", ""}, {"copy kv from stdin; select 1/0", "1\ta\n", "22012"},
		}
		for _, tt := range tests {
			if l.network.slow && len(tt.data) > 1000 {
				continue
			}
			name := fmt.Sprintf("%s, %d bytes", tt.query, len(tt.data))
			l.wire.Arm("begin")
			_, err := l.PgConn().CopyFrom(t.Context(), strings.NewReader(tt.data), tt.query)
			if tt.code == "" && err != nil || tt.code != "" && !isCode(err, tt.code) {
				t.Errorf("%s: got %v, want %s", name, err, tt.code)
			}
			want := map[bool]string{true: "T", false: "E"}[tt.code == ""]
			if status := l.wire.Status(l.PgConn()); status != want {
				t.Errorf("%s: got status %s, want %s", name, status, want)
			}
			l.end(t)

			l.wire.Arm("begin isolation level nonsense")
			if _, err := l.PgConn().CopyFrom(t.Context(), strings.NewReader(tt.data), tt.query); !isCode(err, "42601") {
				t.Errorf("%s without BEGIN: got %v", name, err)
			}
			if !l.wire.Disarm() {
				t.Errorf("%s: BEGIN was refused and is not known to be", name)
			}
			l.outside(t)
		}
		l.wire.Arm("begin")
		var out bytes.Buffer
		if _, err := l.PgConn().CopyTo(t.Context(), &out, "copy (select generate_series(1, 100)) to stdout"); err != nil || out.Len() != 292 {
			t.Errorf("COPY TO: got %d bytes, %v", out.Len(), err)
		}
		l.end(t)
	})
}

// refusals are beginnings that the server refuses in each of the three messages.
var refusals = []string{"begin isolation level nonsense", "set lock_timeout = '-1'", "select 1/0"}

func TestWire_NothingRunsWhereBeginWasRefused(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, l *line) {
		work := map[string]func() error{
			"with arguments":    func() error { _, err := l.Exec(t.Context(), "insert into kv values ($1, '')", 1); return err },
			"without arguments": func() error { _, err := l.Exec(t.Context(), "insert into kv values (2, '')"); return err },
			"several": func() error {
				_, err := l.Exec(t.Context(), "insert into kv values (3, ''); commit; select 1")
				return err
			},
			"rows": func() error {
				return l.QueryRow(t.Context(), "insert into kv values ($1, '') returning k", 4).Scan(new(int))
			},
			"copy": func() error {
				_, err := l.CopyFrom(t.Context(), pgx.Identifier{"kv"}, []string{"k"}, pgx.CopyFromRows([][]any{{5}}))
				return err
			},
			"prepare": func() error { _, err := l.Prepare(t.Context(), "", "select 1"); return err },
		}
		for _, begin := range refusals {
			for name, fn := range work {
				l.wire.Arm(begin)
				for range 2 { // the second statement is no more outside than the first
					if err := fn(); err == nil {
						t.Errorf("%s, %s: it ran", begin, name)
					}
					if status := l.wire.Status(l.PgConn()); status != "E" || l.wire.At() != "refused" {
						t.Errorf("%s, %s: got status %s, %s", begin, name, status, l.wire.At())
					}
				}
				if !l.wire.Disarm() {
					t.Errorf("%s, %s: a transaction seems open", begin, name)
				}
				l.outside(t)
			}
		}
		var n int
		if err := l.QueryRow(t.Context(), "select count(*) from kv").Scan(&n); n != 0 || err != nil {
			t.Errorf("%d rows were written without a transaction, %v", n, err)
		}
	})
}

// A refused setting leaves a transaction, unlike a refused BEGIN.
func TestWire_ARefusedSettingLeavesAFailedTransaction(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, l *line) {
		for _, query := range []string{"insert into kv values ($1, '')", "insert into kv values (1, '')"} {
			l.wire.Arm("begin", "set local lock_timeout = '-1'")
			args := []any{1}[:strings.Count(query, "$")]
			if _, err := l.Exec(t.Context(), query, args...); !isCode(err, "22023") {
				t.Errorf("got %v", err)
			}
			if status := l.wire.Status(l.PgConn()); status != "E" || l.wire.At() != "answered" {
				t.Errorf("got status %s, %s", status, l.wire.At())
			}
			l.end(t)
		}
	})
}

func TestWire_NotificationsPass(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, l *line) {
		other := dial(t, l.Config().ConnString(), modes[0], false)
		mustExec(t, l, "listen news")
		for range 10 {
			mustExec(t, other, "notify news, '"+strings.Repeat("x", 700)+"'")
			l.wire.Arm("begin")
			mustExec(t, l, "select 1")
			if err := l.wire.Leave(l.PgConn()); err != nil {
				t.Fatal(err)
			}
		}
		for range 10 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if n, err := l.WaitForNotification(ctx); err != nil || len(n.Payload) != 700 {
				t.Fatalf("got %v, %v", n, err)
			}
		}
		l.outside(t)
	})
}
