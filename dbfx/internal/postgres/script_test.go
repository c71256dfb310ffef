package postgres

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sergas/dbkit/dbfx/internal/engine"
)

func TestReadScript_FindsWhatStaysOnTheConnection(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"set search_path = x": true, "SET SESSION statement_timeout=1": true, "select 1; set role r": true, "set session characteristics as transaction read only": true,
		"set local search_path = x": false, "set transaction read only": false, "set constraints all deferred": false, "update t set a = 1": false,
		"listen x": true, "notify x": false, "select 'listen'": false, "reset all": false,
		"create temp table t (a int)": true, "create temporary view v as select 1": true, "select 1 into temp x": true, "create local temp table t (a int)": true,
		"create temp table t (a int) on commit drop": false, "create temp table t (a int) on commit drop; create temp table u (a int)": true,
		"select temp from sensors": false, "create table pg_temp.t (a int)": true, "create or replace temp view v as select 1": true,
		"select pg_advisory_lock(1)": true, "select PG_TRY_ADVISORY_LOCK_SHARED(1)": true, "select pg_advisory_xact_lock(1)": false,
		"select set_config('a.b', $1, true)": false, "select set_config('a.b', lower($1), TRUE), f(1)": false, "select set_config('a.b', $1, false)": true,
		"select set_config('a.b', $1, $2)": true, "declare c cursor with hold for select 1": true, "declare c cursor for select 1": false,
		"-- set x = 1\nselect 1 /* listen */": false, "": false,
	} {
		if got := readScript(text, engine.PostgreSQL).leaves; got != want {
			t.Errorf("%q: got %t, want %t", text, got, want)
		}
	}
}

func TestClassify_FarewellsAreLost(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		severity, code, routine string
		want                    engine.Kind
	}{
		{"FATAL", "40001", "", engine.Lost},
		{"ERROR", "40001", "", engine.Serialization},
		{"FATAL", "25P03", "", engine.Lost},
		{"FATAL", "25P04", "", engine.Lost},
		{"FATAL", "57P04", "", engine.Lost},
		{"ERROR", "0A000", "RevalidateCachedQuery", engine.Serialization},
		{"ERROR", "0A000", "transformSelect", engine.Other},
	} {
		err := &pgconn.PgError{Severity: tt.severity, SeverityUnlocalized: tt.severity, Code: tt.code, Routine: tt.routine}
		if got := Classify(err).Kind; got != tt.want {
			t.Errorf("%s %s: got %d, want %d", tt.severity, tt.code, got, tt.want)
		}
	}
}

// BenchmarkReadScript is what the scanner adds to each statement.
func BenchmarkReadScript(b *testing.B) {
	for name, text := range map[string]string{
		"Small":  "select id, name, created_at from users where tenant_id = $1 and name like $2 order by created_at desc limit 20",
		"Script": strings.Repeat("insert into t (a, b) values ('some text', 'another'); -- a comment\n", 1000),
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				readScript(text, engine.PostgreSQL)
			}
		})
	}
}
