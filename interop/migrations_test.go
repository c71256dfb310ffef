package interop

import (
	"context"
	"database/sql"
	"errors"
	"testing"
	"testing/fstest"

	atlaspostgres "ariga.io/atlas/sql/postgres"
	"ariga.io/atlas/sql/schema"
	atlassqlite "ariga.io/atlas/sql/sqlite"
	gomigrate "github.com/golang-migrate/migrate/v4"
	"github.com/golang-migrate/migrate/v4/database"
	migratepgx "github.com/golang-migrate/migrate/v4/database/pgx/v5"
	migratesqlite "github.com/golang-migrate/migrate/v4/database/sqlite"
	"github.com/golang-migrate/migrate/v4/source/iofs"
	"github.com/pressly/goose/v3"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

// rowsOf counts what the migration inserted, through the application's handle:
// which so is seen to be open still.
func rowsOf(t *testing.T, app *fxtest.App) (n int) {
	t.Helper()
	if err := app.DB.QueryRowContext(t.Context(), "select count(*) from pets").Scan(&n); err != nil {
		t.Error(err)
	}
	return n
}

const pets = "create table pets (id integer primary key); insert into pets values (1);"

// GooseUp runs goose on the application's handle.
func GooseUp(ctx context.Context, db *sql.DB, cfg dbfx.Config, files fstest.MapFS) error {
	dialect := goose.DialectSQLite3
	if cfg.Dialect() == dbfx.Postgres {
		dialect = goose.DialectPostgres
	}
	provider, err := goose.NewProvider(dialect, db, files)
	if err != nil {
		return err
	}
	_, err = provider.Up(ctx) // provider.Close would close the handle
	return err
}

func TestGoose_MigratesOnTheHandle(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		app := fxtest.New(t, fxtest.Use(cfg))
		files := fstest.MapFS{"001_pets.sql": {Data: []byte("-- +goose Up\n" + pets)}}
		for range 2 {
			if err := GooseUp(t.Context(), app.DB, cfg, files); err != nil || rowsOf(t, app) != 1 {
				t.Errorf("got %v, %d rows", err, rowsOf(t, app))
			}
		}
	})
}

// MigrateUp runs golang-migrate on a handle of its own, because its Close closes
// the handle that it was given, and nothing else ends its connection.
func MigrateUp(ctx context.Context, cfg dbfx.Config, files fstest.MapFS) (err error) {
	own, err := dbfx.Open(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, own.Close(ctx)) }()
	var driver database.Driver
	if cfg.Dialect() == dbfx.Postgres {
		driver, err = migratepgx.WithInstance(own.DB(), &migratepgx.Config{})
	} else {
		driver, err = migratesqlite.WithInstance(own.DB(), &migratesqlite.Config{})
	}
	if err != nil {
		return err
	}
	source, err := iofs.New(files, ".")
	if err != nil {
		return err
	}
	m, err := gomigrate.NewWithInstance("iofs", source, "dbfx", driver)
	if err != nil {
		return err
	}
	if err = m.Up(); errors.Is(err, gomigrate.ErrNoChange) {
		err = nil
	}
	sourceErr, databaseErr := m.Close()
	return errors.Join(err, sourceErr, databaseErr)
}

func TestGolangMigrate_WantsAHandleOfItsOwn(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		app := fxtest.New(t, fxtest.Use(cfg))
		files := fstest.MapFS{"1_pets.up.sql": {Data: []byte(pets)}}
		for range 2 {
			if err := MigrateUp(t.Context(), cfg, files); err != nil || rowsOf(t, app) != 1 {
				t.Errorf("got %v, %d rows", err, rowsOf(t, app))
			}
		}
	})
}

// AtlasApply makes the schema what want says, in a session: all of it or nothing.
func AtlasApply(ctx context.Context, s *dbfx.Sessions, cfg dbfx.Config, want *schema.Schema) error {
	return s.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
		open := atlassqlite.Open
		if cfg.Dialect() == dbfx.Postgres {
			open = atlaspostgres.Open
		}
		driver, err := open(tx)
		if err != nil {
			return err
		}
		is, err := driver.InspectSchema(ctx, "", &schema.InspectOptions{Mode: schema.InspectTables})
		if err != nil {
			return err
		}
		want.Name, want.Attrs = is.Name, is.Attrs
		changes, err := driver.SchemaDiff(is, want)
		if err != nil {
			return err
		}
		return driver.ApplyChanges(ctx, changes)
	}, dbfx.Name("atlas"))
}

func TestAtlas_DiffsAndAppliesInASession(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		app := fxtest.New(t, fxtest.Use(cfg))
		kind := "integer"
		id := schema.NewIntColumn("id", kind)
		want := schema.New("").AddTables(schema.NewTable("pets").AddColumns(id).SetPrimaryKey(schema.NewPrimaryKey(id)))
		if err := AtlasApply(t.Context(), app.Sessions, cfg, want); err != nil {
			t.Fatal(err)
		}
		if n := rowsOf(t, app); n != 0 {
			t.Errorf("got %d rows", n)
		}
		ran := fxtest.Statements(t, app)
		if err := AtlasApply(t.Context(), app.Sessions, cfg, want); err != nil || ran.Count("create table") != 0 {
			t.Errorf("a second time: %v, ran\n%s", err, ran)
		}
	})
}

// TestAtlas_InANestedSession: an undone diff leaves nothing, and the outer session
// goes on.
func TestAtlas_InANestedSession(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		app := fxtest.New(t, fxtest.Use(cfg))
		want := func(name string) *schema.Schema {
			id := schema.NewIntColumn("id", "integer")
			return schema.New("").AddTables(schema.NewTable(name).AddColumns(id).SetPrimaryKey(schema.NewPrimaryKey(id)))
		}
		undo := errors.New("undo")
		err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
			err := app.Sessions.Run(ctx, func(ctx context.Context, _ *dbfx.Session) error {
				if err := AtlasApply(ctx, app.Sessions, cfg, want("undone")); err != nil {
					return err
				}
				return undo
			})
			if err != undo {
				return err
			}
			if err := AtlasApply(ctx, app.Sessions, cfg, want("pets")); err != nil {
				return err
			}
			_, err = tx.ExecContext(ctx, "insert into pets values (1)")
			return err
		})
		if err != nil || rowsOf(t, app) != 1 {
			t.Errorf("got %v", err)
		}
		if _, err := app.DB.ExecContext(t.Context(), "select 1 from undone"); err == nil {
			t.Error("the undone diff has left its table")
		}
	})
}
