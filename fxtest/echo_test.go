package fxtest_test

import (
	"context"
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
