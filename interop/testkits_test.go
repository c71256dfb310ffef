package interop

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"testing"

	"github.com/DATA-DOG/go-sqlmock"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/peterldowns/pgtestdb"
	"go.uber.org/fx"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

// TestSqlmock_StandsInByReplace: nothing is dialled and no hook runs. Sessions
// keeps to its own connections and refuses the mock's; a unit that takes a *sql.DB
// or a DBTX is what a mock can test.
func TestSqlmock_StandsInByReplace(t *testing.T) {
	t.Parallel()
	db, mock, err := sqlmock.New()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	mock.ExpectQuery("select name from people").WillReturnRows(sqlmock.NewRows([]string{"name"}).AddRow("Ada"))
	var sessions *dbfx.Sessions
	app := fx.New(fx.NopLogger, dbfx.Module, fxtest.Use(fxtest.SQLite(t)), fx.Replace(db), fx.Populate(&sessions))
	if err := app.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	var name string
	if err := sessions.DB(t.Context()).QueryRowContext(t.Context(), "select name from people").Scan(&name); err != nil || name != "Ada" {
		t.Errorf("got %q, %v", name, err)
	}
	mock.ExpectBegin()
	if err := sessions.Run(t.Context(), func(context.Context, *dbfx.Session) error { return nil }); err == nil {
		t.Error("a session ran on a connection that cannot tell whether it committed")
	}
	if err := app.Stop(context.Background()); err != nil {
		t.Error(err)
	}
}

// peopleMigrator is pgtestdb's interface.
type peopleMigrator struct{}

// Hash implements pgtestdb.Migrator.
func (peopleMigrator) Hash() (string, error) { return "people-1", nil }

// Migrate implements pgtestdb.Migrator.
func (peopleMigrator) Migrate(ctx context.Context, db *sql.DB, _ pgtestdb.Config) error {
	_, err := db.ExecContext(ctx, ddl)
	return err
}

// TestPgtestdb_GivesTheDatabase: pgtestdb clones, dbfx opens.
func TestPgtestdb_GivesTheDatabase(t *testing.T) {
	t.Parallel()
	server, err := url.Parse(fxtest.Postgres(t).URL())
	if err != nil {
		t.Fatal(err)
	}
	password, _ := server.User.Password()
	own := pgtestdb.Custom(t, pgtestdb.Config{
		DriverName: "pgx", Host: server.Hostname(), Port: server.Port(), User: server.User.Username(), Password: password,
		Database: "postgres", Options: "sslmode=disable",
	}, peopleMigrator{})
	cfg := dbfx.DefaultConfig()
	cfg.DatabaseURL = dbfx.NewSecret(own.URL())
	app := fxtest.New(t, fxtest.Use(cfg))
	if err := AddBySquirrel(t.Context(), app.DB, Person{1, "Ada"}); err != nil {
		t.Error(err)
	}
	if list, err := ListBySquirrel(t.Context(), app.DB); err != nil || fmt.Sprint(list) != "[{1 Ada}]" {
		t.Errorf("got %v, %v", list, err)
	}
	lib := library{AddBySquirrel, ListBySquirrel}
	if _, err := app.DB.ExecContext(t.Context(), "delete from people"); err != nil {
		t.Fatal(err)
	}
	lib.onPoolAndInSession(t, app)
	lib.nested(t, app)
	lib.withErrors(t, app)
}
