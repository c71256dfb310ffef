package migrate_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/dbfx/migrate"
	"github.com/sergas/dbkit/dbfx/migrate/migratetest"
)

func TestLint_FindsWhatTakesServicesDown(t *testing.T) {
	t.Parallel()
	const bare = "-- +goose NO TRANSACTION\n-- +goose Up\n"
	tests := []struct {
		name, text string
		want       []string // line and rule
		opts       []migrate.LintOption
	}{
		{"Index", "create index i on t (n);", []string{"2 index-not-concurrent"}, nil},
		{"IndexOnANewTable", "create table t (id integer primary key);\ncreate unique index i on t (id);", nil, nil},
		{"IndexConcurrently", bare + "create index concurrently i on t (n);", nil, nil},
		{"IndexConcurrentlyInATransaction", "create index concurrently i on t (n);\ndrop index concurrently i;", []string{"2 concurrent-in-transaction", "3 concurrent-in-transaction"}, nil},
		{"UnnamedIndex", bare + "create index concurrently on t (n);", []string{"3 unnamed-index"}, nil},
		{"NotNull", "alter table t add column a text not null;", []string{"2 not-null"}, nil},
		{"NotNullWithDefault", "alter table t add column a text not null default '';", nil, nil},
		{"SetNotNull", "alter table only public.t\n  add b text,\n  alter column a set not null;", []string{"4 not-null"}, nil},
		{"Type", "alter table if exists t alter column a type bigint;", []string{"2 column-type"}, nil},
		{"Rename", "alter table t rename column a to b;\nalter table t rename to u;", []string{"2 rename", "3 rename"}, nil},
		{"ForeignKey", "alter table t add constraint f foreign key (a) references u (id);", []string{"2 constraint-not-valid"}, nil},
		{"ForeignKeyNotValid", "alter table t add constraint f foreign key (a) references u (id) not valid;", nil, nil},
		{"AColumnCalledCheckedOrDefault", "alter table t add column a text default 'not null';", nil, nil},
		{"LockTimeoutOff", "set local lock_timeout = 0;", []string{"2 lock-timeout"}, nil},
		{"LockTimeoutForGoose", "alter table t add column a text;\nset lock_timeout = '1s';\nalter table t add column b text;", []string{"2 lock-timeout"}, []migrate.LintOption{migrate.LintForGoose()}},
		{"InText", "insert into t values ('create index i on t (n)'); -- alter table t rename to u\n", nil, nil},
		{"RenamedAwayFirst", "alter table t rename to t_old; -- lint:ignore rename it is SQLite\ncreate table t (id integer primary key);", []string{"3 rebuild-order"}, []migrate.LintOption{migrate.LintFor(dbfx.SQLite)}},
		{"Rebuild", "create table n (id integer primary key);\ndrop table t;\nalter table n rename to t;", nil, []migrate.LintOption{migrate.LintFor(dbfx.SQLite)}},
		{"RebuildForGoose", "pragma foreign_keys = off;\ndrop table t;", []string{"2 rebuild-foreign-keys", "3 rebuild-foreign-keys"}, []migrate.LintOption{migrate.LintFor(dbfx.SQLite), migrate.LintForGoose()}},
		{"Both", "create table t (\n  id integer primary key,\n  a varchar(3),\n  b json,\n  c int not null,\n  d bigint,\n  check (a <> '')\n);",
			[]string{"4 varchar-length", "5 json-check", "6 integer-check", "8 unnamed-check"}, nil},
		{"BothRight", "create table t (\n  id integer primary key,\n  a varchar(3) constraint t_a check (length(a) <= 3),\n  c int not null,\n  constraint t_c check (c = cast(c as integer))\n);", nil, nil},
		{"OneEngine", "create table t (a varchar(3), b json, c int, check (c > 0));", nil, []migrate.LintOption{migrate.LintFor(dbfx.Postgres)}},
		{"Waived", "-- lint:ignore rename no program reads it\nalter table t rename to u;\nalter table v rename to w;", []string{"4 rename"}, nil},
		{"WaivedWithoutAReason", "-- lint:ignore rename\nalter table t rename to u;", []string{"3 rename"}, nil},
		{"WaivedForTheFile", "-- lint:ignore rename,not-null the service is stopped\n-- +goose Up\nalter table t rename to u;\nalter table t add a text not null;", nil, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			findings, err := migrate.Lint(files("00001_x.sql", tt.text), tt.opts...)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range findings {
				got = append(got, fmt.Sprintf("%d %s", f.Line, f.Rule))
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q: %v", got, tt.want, findings)
			}
		})
	}
}

func TestLint_FoldersOfTheEnginesNeedNotSuitTheOther(t *testing.T) {
	t.Parallel()
	findings, err := migrate.Lint(files("sqlite/1_a.sql", "create table t (a varchar(3), n integer) strict;\ncreate index i on u (a);", "postgresql/1_a.sql", "create index i on u (a);"))
	if err != nil || len(findings) != 1 || findings[0].Rule != "index-not-concurrent" {
		t.Errorf("got %v, %v", findings, err)
	}
}

// failures keeps what a test is told.
type failures struct {
	testing.TB
	told []string
}

func (e *failures) Helper()           {}
func (e *failures) Error(args ...any) { e.told = append(e.told, fmt.Sprint(args...)) }

func TestLint_FailsATest(t *testing.T) {
	t.Parallel()
	e := &failures{TB: t}
	migratetest.Lint(e, files("1_a.sql", "alter table t rename to u;"))
	if len(e.told) != 1 || !strings.HasPrefix(e.told[0], "1_a.sql:2: ") {
		t.Errorf("told %q", e.told)
	}
}
