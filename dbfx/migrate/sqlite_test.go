package migrate_test

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"github.com/pressly/goose/v3"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/dbfx/migrate"
	"github.com/sergas/dbkit/fxtest"
)

// family is a parent with three children that go with it.
const family = `
create table parent (id integer primary key, name text);
create table child (id integer primary key, parent_id integer not null references parent (id) on delete cascade);
create index parent_name on parent (name);
insert into parent values (1, 'a'), (2, 'b');
insert into child values (1, 1), (2, 1), (3, 2);
`

// rebuild is how SQLite's tables are changed, as goose's users write it.
const rebuild = `
PRAGMA foreign_keys=OFF;
create table parent_new (id integer primary key, name text not null);
insert into parent_new select * from parent;
drop table parent;
alter table parent_new rename to parent;
create index parent_name on parent (name);
PRAGMA foreign_keys=ON;
`

func TestSQLite_RebuildKeepsTheRowsThatRefer(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"WithThePragma":    rebuild,
		"WithoutThePragma": "create table n (id integer primary key, name text);\ninsert into n select * from parent;\ndrop table parent;\nalter table n rename to parent;",
		"InOneStatement":   "-- +goose StatementBegin\ncreate table n (id integer primary key, name text);\ninsert into n select * from parent; drop /* x */ table\nparent; alter table n rename to parent;\n-- +goose StatementEnd",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := open(t, fxtest.SQLite(t))
			db.up(t, files("00001_family.sql", family, "00002_rebuild.sql", text))
			if n := db.count(t, "select count(*) from child"); n != 3 {
				t.Errorf("%d children, want 3", n)
			}
			// The connection is as it was for who gets it next, and the keys work.
			for range 8 {
				if on := db.count(t, "pragma foreign_keys"); on != 1 {
					t.Fatal("foreign keys are off afterwards")
				}
			}
			if _, err := db.DB().ExecContext(t.Context(), "insert into child values (9, 9)"); !dbfx.IsForeignKeyViolation(err) {
				t.Error("a row without a parent:", err)
			}
		})
	}
}

// TestSQLite_GooseAloneLosesThem is why the test above exists. When it fails goose
// has changed.
func TestSQLite_GooseAloneLosesThem(t *testing.T) {
	t.Parallel()
	db := open(t, fxtest.SQLite(t))
	provider, err := goose.NewProvider(goose.DialectSQLite3, db.DB(), files("00001_family.sql", family, "00002_rebuild.sql", rebuild),
		goose.WithDisableGlobalRegistry(true))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := provider.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := db.count(t, "select count(*) from child"); n != 0 {
		t.Errorf("%d children, and goose used to leave none", n)
	}
}

func TestSQLite_WhatARebuildWouldBreakIsRolledBack(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		text string
		want []string
	}{
		"ARowWithoutItsParent": {
			"create table n (id integer primary key, name text);\ninsert into n select * from parent where id > 1;\ndrop table parent;\nalter table n rename to parent;",
			[]string{"00002_bad.sql", "child", "parent", "rowid 1, 2"},
		},
		"ADeleteThatWouldHaveCascaded": {
			"pragma foreign_keys = off;\ndelete from parent where id = 2;",
			[]string{"child", "rowid 3"},
		},
		"RenamedAwayFirst": {
			"alter table parent rename to parent_old;\ncreate table parent (id integer primary key, name text);\ninsert into parent select * from parent_old;\ndrop table parent_old;",
			[]string{"parent_old", "child"},
		},
		"AKeyThatIsGone": {
			"create table n (id integer, name text);\ninsert into n select * from parent;\ndrop table parent;\nalter table n rename to parent;",
			[]string{"child"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := open(t, fxtest.SQLite(t))
			fsys := files("00001_family.sql", family, "00002_bad.sql", tt.text)
			_, err := db.migrator(t, fsys).Up(t.Context())
			if err == nil {
				t.Fatal("it was committed")
			}
			contains(t, err.Error(), tt.want...)
			if n := db.count(t, "select count(*) from child c join parent p on p.id = c.parent_id"); n != 3 {
				t.Errorf("%d children with a parent, want 3", n)
			}
			if v := db.count(t, "select max(version_id) from goose_db_version"); v != 1 {
				t.Errorf("at version %d, want 1", v)
			}
		})
	}
}

func TestSQLite_OldOrphansDoNotStopARebuildAndLostIndexesAreTold(t *testing.T) {
	t.Parallel()
	db := open(t, fxtest.SQLite(t))
	db.up(t, files("00001_family.sql", family))
	conn, err := db.DB().Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range []string{"pragma foreign_keys = off", "insert into child values (7, 77)", "pragma foreign_keys = on"} {
		if _, err := conn.ExecContext(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	db.up(t, files("00001_family.sql", family, "00002_r.sql",
		"create table n (id integer primary key, name text);\ninsert into n select * from parent;\ndrop table parent;\nalter table n rename to parent;"))
	if n := db.count(t, "select count(*) from child"); n != 4 {
		t.Errorf("%d children, want 4", n)
	}
	lost := db.logs.FilterMessageSnippet("dropped what stood on it").All()
	if len(lost) != 1 || lost[0].ContextMap()["lost"] != "index parent_name on parent" {
		t.Errorf("told %v", lost)
	}
}

func TestSQLite_AGoMigrationMayDropATableOnlyAsRebuild(t *testing.T) {
	t.Parallel()
	db := open(t, fxtest.SQLite(t))
	g := migrate.Go{Version: 2, Up: func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "create table n (id integer primary key, name text); insert into n select * from parent; drop table parent; alter table n rename to parent")
		return err
	}}
	fsys := files("00001_family.sql", family)
	_, err := db.migrator(t, fsys, migrate.WithGo(g)).Up(t.Context())
	if err == nil {
		t.Fatal("it ran")
	}
	contains(t, err.Error(), "00002.go", "Rebuild")
	g.Rebuild = true
	db.up(t, fsys, migrate.WithGo(g))
	if n := db.count(t, "select count(*) from child"); n != 3 {
		t.Errorf("%d children, want 3", n)
	}
}

func TestSQLite_NoTransactionRunsWhatATransactionForbids(t *testing.T) {
	t.Parallel()
	db := open(t, fxtest.SQLite(t))
	db.up(t, files("00001_family.sql", family, "00002_vacuum.sql", "-- +goose NO TRANSACTION\n-- +goose Up\npragma foreign_keys = off;\nvacuum;"))
	_, err := db.migrator(t, files("00001_family.sql", family, "00002_vacuum.sql", "-- +goose NO TRANSACTION\n-- +goose Up\npragma foreign_keys = off;\nvacuum;",
		"00003_open.sql", "-- +goose NO TRANSACTION\n-- +goose Up\nbegin;\ndelete from child where id = 3;")).Up(t.Context())
	if err == nil {
		t.Error("a file that leaves a transaction open succeeded")
	} else {
		contains(t, err.Error(), "00003_open.sql", "open")
	}
	if on := db.count(t, "pragma foreign_keys"); on != 1 {
		t.Error("foreign keys are off afterwards")
	}
	if n := db.count(t, "select count(*) from child"); n != 3 {
		t.Errorf("%d children: what was left open in a transaction was committed", n)
	}
	db.exec(t, "insert into child values (10, 1)")
}

func TestSQLite_InMemory(t *testing.T) {
	t.Parallel()
	cfg := fxtest.SQLite(t)
	cfg.SQLitePath = ":memory:"
	db := open(t, cfg)
	db.up(t, files("00001_family.sql", family, "00002_rebuild.sql", rebuild, "00003_v.sql", "-- +goose NO TRANSACTION\n-- +goose Up\nvacuum;"))
	if n := db.count(t, "select count(*) from child"); n != 3 {
		t.Errorf("%d children, want 3", n)
	}
}

// TestSQLite_AnotherProcessThatWritesIsWaitedFor: longer than SQLITE_BUSY_TIMEOUT.
func TestSQLite_AnotherProcessThatWritesIsWaitedFor(t *testing.T) {
	t.Parallel()
	cfg := fxtest.SQLite(t)
	holder := open(t, cfg)
	tx, err := holder.DB().BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.ExecContext(t.Context(), "create table held (id integer)"); err != nil {
		t.Fatal(err)
	}
	cfg.SQLiteBusyTimeout = 20 * time.Millisecond
	db := open(t, cfg)
	result := make(chan error, 1)
	go func() {
		m, err := migrate.New(db.Database, files("00001_family.sql", family))
		if err == nil {
			_, err = m.Up(t.Context())
		}
		result <- err
	}()
	waitFor(t, func() bool { return db.logs.FilterMessageSnippet("tried again").Len() >= 2 })
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := <-result; err != nil {
		t.Fatal(err)
	}
}
