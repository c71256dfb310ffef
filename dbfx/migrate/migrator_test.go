package migrate_test

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"testing"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/dbfx/migrate"
	"github.com/sergas/dbkit/fxtest"
)

const usersAndNotes = `
create table users (id integer primary key, name varchar(40) not null);
-- a comment; with a semicolon
create table notes (id integer primary key, user_id integer not null references users (id) on delete cascade);
-- +goose Down
drop table notes;
drop table users;
`

func TestUp_AppliesWhatIsPendingOnce(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		db := open(t, cfg)
		one := files("00001_first.sql", usersAndNotes)
		if done := db.up(t, one); len(done) != 1 || done[0].File != "00001_first.sql" || !done[0].Up {
			t.Errorf("the first run did %+v", done)
		}
		two := files("00001_first.sql", usersAndNotes, "00002_more.sql", "insert into users values (1, 'a;b'), (2, '-- c');")
		if done := db.up(t, two); len(done) != 1 || done[0].Version != 2 {
			t.Errorf("the second run did %+v", done)
		}
		if done := db.up(t, two); len(done) != 0 {
			t.Errorf("the third run did %+v", done)
		}
		if n := db.count(t, "select count(*) from users"); n != 2 {
			t.Errorf("%d users, want 2", n)
		}
		if n := db.count(t, "select count(*) from goose_db_version where version_id > 0"); n != 2 {
			t.Errorf("goose's table has %d versions, want 2", n)
		}
	})
}

func TestTo_GoesBothWaysAndDownIsRefusedInProduction(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		fsys := files("00001_first.sql", usersAndNotes, "00002_more.sql", "alter table users add column age integer;\n-- +goose Down\nalter table users drop column age;")
		for _, env := range []string{"production", " Prod "} {
			cfg.Env = env
			db := open(t, cfg)
			db.up(t, fsys)
			if _, err := db.migrator(t, fsys).Down(t.Context()); !errors.Is(err, migrate.ErrProduction) {
				t.Errorf("Down where ENV is %q: got %v", env, err)
			}
			if _, err := db.migrator(t, fsys).To(t.Context(), 1); !errors.Is(err, migrate.ErrProduction) {
				t.Errorf("To an older version where ENV is %q: got %v", env, err)
			}
		}
		db := open(t, cfg)
		m := db.migrator(t, fsys, migrate.AllowDown())
		for _, step := range []struct{ version, want int64 }{{1, 1}, {2, 2}, {0, 0}, {1, 1}} {
			if _, err := m.To(t.Context(), step.version); err != nil {
				t.Fatal("To", step.version, err)
			}
			if s, err := m.Status(t.Context()); err != nil || s.Version != step.want {
				t.Errorf("at version %d after To %d: %v", s.Version, step.version, err)
			}
		}
		if done, err := m.Down(t.Context()); err != nil || len(done) != 1 || done[0].Up {
			t.Errorf("Down did %+v, %v", done, err)
		}
		if done, err := m.Down(t.Context()); err != nil || len(done) != 0 {
			t.Errorf("Down of an empty schema did %+v, %v", done, err)
		}
		if _, err := m.To(t.Context(), 7); !errors.Is(err, migrate.ErrUnknownVersion) {
			t.Errorf("To a version that is not there: got %v", err)
		}
	})
}

func TestUp_AFailedFileLeavesNothingAndSaysWhere(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		db := open(t, cfg)
		fsys := files("00001_first.sql", usersAndNotes, "00002_bad.sql", `
create table other (id integer);

insert into
	nosuch
	values (1);
`)
		done, err := db.migrator(t, fsys).Up(t.Context())
		var fault *migrate.Error
		if !errors.As(err, &fault) || len(done) != 1 {
			t.Fatalf("got %+v, %v", done, err)
		}
		wantLine, wantCode := 4, "SQLite 1"
		if cfg.Dialect() == dbfx.Postgres {
			wantLine, wantCode = 5, "SQLSTATE 42P01" // the server says where in the statement
		}
		if fault.File != "00002_bad.sql" || fault.Line != wantLine+1 || fault.Code != wantCode || fault.Statement != "insert into nosuch values (1);" {
			t.Errorf("got %+v", fault)
		}
		contains(t, err.Error(), "00002_bad.sql:", "nosuch", wantCode)
		if s, err := db.migrator(t, fsys).Status(t.Context()); err != nil || s.Version != 1 || len(s.Pending()) != 1 {
			t.Errorf("afterwards %+v, %v", s, err)
		}
		if _, err := db.DB().ExecContext(t.Context(), "select * from other"); err == nil {
			t.Error("the file's first statement stayed")
		}
		db.up(t, files("00001_first.sql", usersAndNotes, "00002_bad.sql", "create table other (id integer);"))
	})
}

func TestError_ShowsNoPassword(t *testing.T) {
	t.Parallel()
	cfg := fxtest.Postgres(t)
	db := open(t, cfg)
	_, err := db.migrator(t, files("00001_role.sql", "create role postgres login password 'hunter2';")).Up(t.Context())
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v", err)
	}
	for _, entry := range db.logs.All() {
		for _, v := range entry.ContextMap() {
			if text, ok := v.(string); ok && strings.Contains(text, "hunter2") {
				t.Errorf("logged %s", text)
			}
		}
	}
}

func TestUp_RefusesWhatIsOutOfOrderUnlessAllowed(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		db := open(t, cfg)
		db.up(t, files("00001_a.sql", "create table a (id integer);", "00003_c.sql", "create table c (id integer);"))
		all := files("00001_a.sql", "create table a (id integer);", "00002_b.sql", "create table b (id integer);", "00003_c.sql", "create table c (id integer);")
		_, err := db.migrator(t, all).Up(t.Context())
		if !errors.Is(err, migrate.ErrOutOfOrder) {
			t.Fatal("got", err)
		}
		contains(t, err.Error(), "00002_b.sql", "AllowOutOfOrder")
		if done := db.up(t, all, migrate.AllowOutOfOrder()); len(done) != 1 || done[0].Version != 2 {
			t.Errorf("did %+v", done)
		}
	})
}

func TestStatus_KnowsAheadChangedAndPending(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		db := open(t, cfg)
		empty, err := db.migrator(t, files("00001_a.sql", "create table a (id integer);")).Status(t.Context())
		if err != nil || empty.Version != 0 || len(empty.Pending()) != 1 {
			t.Errorf("before: %+v, %v", empty, err)
		}
		db.up(t, files("00001_a.sql", "create table a (id integer);\n", "00002_b.sql", "create table b (id integer);"))
		m := db.migrator(t, files("00001_a.sql", "create table a (id bigint);"))
		s, err := m.Status(t.Context())
		if err != nil || !s.Ahead() || s.Version != 2 || s.Latest != 1 || len(s.Pending()) != 0 {
			t.Errorf("got %+v, %v", s, err)
		}
		if !s.Migrations[0].Changed || !s.Migrations[1].Unknown || s.Migrations[0].AppliedAt.IsZero() {
			t.Errorf("got %+v", s.Migrations)
		}
		if done, err := m.Up(t.Context()); err != nil || len(done) != 0 {
			t.Errorf("Up of an older program: %+v, %v", done, err)
		}
		if db.logs.FilterMessageSnippet("changed after").Len() != 1 {
			t.Error("the changed file was not logged")
		}
		// How lines end is no change.
		same, err := db.migrator(t, files("00001_a.sql", "create table a (id integer);\r\n")).Status(t.Context())
		if err != nil || same.Migrations[0].Changed {
			t.Errorf("got %+v, %v", same, err)
		}
	})
}

func TestPlan_SaysWhatWouldRunAndRunsNothing(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		db := open(t, cfg)
		m := db.migrator(t, files("00001_a.sql", usersAndNotes, "00002_b.sql", "-- +goose NO TRANSACTION\n-- +goose Up\ndrop table notes;"))
		p, err := m.Plan(t.Context())
		if err != nil || len(p.Steps) != 2 || len(p.Steps[0].Statements) != 2 || !p.Steps[1].NoTransaction {
			t.Fatalf("got %+v, %v", p, err)
		}
		contains(t, p.String(), "00001_a.sql", "create table users", "00002_b.sql without a transaction")
		if s, err := m.Status(t.Context()); err != nil || s.Version != 0 {
			t.Errorf("afterwards %+v, %v", s, err)
		}
		if _, err := db.DB().ExecContext(t.Context(), "select * from goose_db_version"); err == nil {
			t.Error("Plan or Status made the version table")
		}
	})
}

func TestGo_RunsInTheTransactionOrWithTheHandle(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		db := open(t, cfg)
		fsys := files("00001_a.sql", "create table a (id integer, t varchar(10));")
		fill := migrate.Go{Version: 2, Name: "fill", Up: func(ctx context.Context, tx *sql.Tx) error {
			stmt, err := tx.PrepareContext(ctx, "insert into a values ($1, $2)")
			if err != nil {
				return err
			}
			defer func() { _ = stmt.Close() }()
			for i := range 3 {
				if _, err := stmt.ExecContext(ctx, i, "x"); err != nil {
					return err
				}
			}
			return tx.QueryRowContext(ctx, "select count(*) from a").Scan(new(int))
		}}
		bare := migrate.Go{Version: 3, UpDB: func(ctx context.Context, d *sql.DB) error {
			if d != db.DB() {
				return errors.New("not the handle")
			}
			_, err := d.ExecContext(ctx, "insert into a values (9, 'y')")
			return err
		}}
		db.up(t, fsys, migrate.WithGo(fill, bare))
		if n := db.count(t, "select count(*) from a"); n != 4 {
			t.Errorf("%d rows, want 4", n)
		}
		wrong := errors.New("mine")
		for name, g := range map[string]migrate.Go{
			"Error": {Version: 4, Name: "e", Up: func(ctx context.Context, tx *sql.Tx) error {
				_, _ = tx.ExecContext(ctx, "delete from a")
				return wrong
			}},
			"Panic": {Version: 4, Name: "e", Up: func(ctx context.Context, tx *sql.Tx) error {
				_, _ = tx.ExecContext(ctx, "delete from a")
				panic(wrong)
			}},
		} {
			_, err := db.migrator(t, fsys, migrate.WithGo(fill, bare, g)).Up(t.Context())
			if err == nil || !strings.Contains(err.Error(), "00004_e.go: ") || !strings.Contains(err.Error(), "mine") {
				t.Errorf("%s: got %v", name, err)
			}
			if n := db.count(t, "select count(*) from a"); n != 4 {
				t.Errorf("%s: %d rows, want 4", name, n)
			}
		}
	})
}
