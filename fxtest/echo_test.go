package fxtest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap/zapcore"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

func TestEcho_LogsStatementsAndHidesParameters(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		for _, params := range []bool{false, true} {
			own := cfg
			own.SQLEcho, own.SQLEchoParams = true, params
			supply, logs := logger()
			app := fxtest.New(t, fxtest.Use(own), supply)
			table := fmt.Sprintf("echo_%t", params)
			if _, err := app.DB.ExecContext(t.Context(), "create table "+table+" (k text primary key)"); err != nil {
				t.Fatal(err)
			}
			logs.TakeAll()
			insert := func(ctx context.Context, tx *dbfx.Session) error {
				_, err := tx.ExecContext(ctx, "insert into "+table+" values ($1)", "hunter2")
				return err
			}
			if err := app.Sessions.Run(t.Context(), insert); err != nil {
				t.Fatal(err)
			}
			if err := app.Sessions.Run(t.Context(), insert); !dbfx.IsUniqueViolation(err) {
				t.Fatal(err)
			}
			var sqls []string
			var all strings.Builder
			for _, entry := range logs.FilterMessage("sql").All() {
				m := entry.ContextMap()
				sqls = append(sqls, strings.Fields(m["sql"].(string))[0])
				if m["duration"] == nil || entry.Level != zapcore.InfoLevel {
					t.Errorf("got %v", entry)
				}
				fmt.Fprintf(&all, "%v\n", m)
			}
			if want := []string{"BEGIN", "insert", "COMMIT", "BEGIN", "insert", "ROLLBACK"}; !slices.Equal(sqls, want) {
				t.Errorf("got %v, want %v", sqls, want)
			}
			if got := strings.Contains(all.String(), "hunter2"); got != params {
				t.Errorf("SQL_ECHO_PARAMS=%t, and the parameter is shown: %t\n%s", params, got, all.String())
			}
		}
	})
}

// TestEcho_WhatIsReadFromAnArgumentIsNotQuoted: names, paths and queries, which are no
// data exceptions. A name from the text of the statement is quoted.
func TestEcho_WhatIsReadFromAnArgumentIsNotQuoted(t *testing.T) {
	t.Parallel()
	quoting := map[dbfx.Dialect][]string{
		dbfx.SQLite: {"attach $1 as other"},
		dbfx.Postgres: {
			"select cast(cast($1 as text) as regclass)", "select nextval($1)", "select set_config($1, 'x', false)", "select to_tsquery($1, 'x')",
			"select to_tsquery($1 || ' &')", "select pg_read_file($1)", "select query_to_xml('select ' || $1, true, true, '')",
		},
	}
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		supply, logs := logger()
		app := fxtest.New(t, fxtest.Use(cfg), supply)
		app.Sessions.SetEcho(true)
		own := []string{"select missing from sqlite_schema where 'x' = $1", "select * from missing where 'x' = $1"}
		secret := "Hunter2/canary-" + strings.Repeat("x", 80) // longer than a name may be
		for _, query := range append(quoting[cfg.Dialect()], own...) {
			if _, err := app.DB.ExecContext(t.Context(), query, secret); err == nil {
				t.Errorf("%s did not fail", query)
			}
			_ = app.Sessions.View(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
				rows, err := tx.QueryContext(ctx, query, []byte(secret))
				if err == nil {
					err = errors.Join(rows.Err(), rows.Close())
				}
				return err
			})
		}
		shown := 0
		for _, line := range logs.FilterMessage("sql").All() {
			text := fmt.Sprint(line.ContextMap())
			if strings.Contains(strings.ToLower(text), "hunter2") {
				t.Errorf("got %s", text)
			}
			if text, _ := line.ContextMap()["error"].(string); strings.Contains(text, "missing") || strings.Contains(text, "sqlite_schema") {
				shown++
			}
		}
		if shown != 2*len(own) {
			t.Errorf("%d errors name what the statement does, want %d", shown, 2*len(own))
		}
	})
}
