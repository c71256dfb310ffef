package migrate_test

import (
	"testing"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

// TestPostgres_ARoleThatMayNotReadTheVersionIsToldSo: at the start, and by
// readiness where the start does not look.
func TestPostgres_ARoleThatMayNotReadTheVersionIsToldSo(t *testing.T) {
	t.Parallel()
	cfg := fxtest.Postgres(t)
	fsys := files("00001_a.sql", "create table a (n integer);")
	open(t, cfg).up(t, fsys)
	service := role(t, cfg)
	service.DatabaseMigrationURL = dbfx.Secret{}
	m := open(t, service).migrator(t, fsys)
	_, err := m.Status(t.Context())
	if err == nil {
		t.Fatal("it read the version")
	}
	contains(t, err.Error(), "42501", "SELECT on goose_db_version and goose_db_version_files", "DATABASE_MIGRATION_URL")
	if got := m.Ready(t.Context()); got.Status != dbfx.Fail {
		t.Errorf("ready: %+v", got)
	} else {
		contains(t, got.Reason, "no right to read goose_db_version")
	}
}

// TestVersionTable_OfAnotherKind is never written to, and columns of one's own do
// no harm.
func TestVersionTable_OfAnotherKind(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		columns string
		want    string // "" where it works
	}{
		"MoreColumns": {"version_id bigint not null, is_applied boolean not null, note text, origin text not null default 'x'", ""},
		"NoVersion":   {"version text, dirty boolean", "name another one with migrate.Table"},
		"AlwaysOurs":  {"version_id bigint not null, is_applied boolean not null, note text not null", "write the version"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
				db := open(t, cfg)
				id := "id integer primary key autoincrement"
				if cfg.Dialect() == dbfx.Postgres {
					id = "id serial primary key"
				}
				db.exec(t, "create table goose_db_version ("+id+", tstamp timestamp default current_timestamp, "+tt.columns+")")
				m := db.migrator(t, files("00001_a.sql", "create table a (n integer);"))
				_, err := m.Up(t.Context())
				if tt.want == "" {
					if s, stated := m.Status(t.Context()); err != nil || stated != nil || s.Version != 1 {
						t.Errorf("at version %d: %v, %v", s.Version, err, stated)
					}
					return
				}
				if err == nil {
					t.Fatal("it ran")
				}
				contains(t, err.Error(), "goose_db_version", tt.want)
				if _, err := db.DB().ExecContext(t.Context(), "create table a (n integer)"); err != nil {
					t.Error("the migration stayed:", err)
				}
			})
		})
	}
}
