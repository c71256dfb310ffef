// Package interop proves that a Session works with the libraries that people
// write SQL with. It is a module of its own, so that none of them is a
// requirement of dbfx.
package interop

import (
	"context"
	"testing"

	"github.com/Masterminds/squirrel"
	"github.com/georgysavva/scany/v2/sqlscan"
	"github.com/jmoiron/sqlx"
	"github.com/jmoiron/sqlx/reflectx"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
	"github.com/uptrace/bun/dialect/sqlitedialect"
	"github.com/uptrace/bun/schema"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

// queries is what sqlc generates: a DBTX in, methods out.
type queries struct{ db dbfx.DBTX }

func (q *queries) add(ctx context.Context, name string) (id int64, err error) {
	err = q.db.QueryRowContext(ctx, "insert into people (name) values ($1) returning id", name).Scan(&id)
	return id, err
}

type person struct {
	bun.BaseModel `bun:"table:people"`

	ID   int64  `db:"id" bun:"id,pk,autoincrement"`
	Name string `db:"name" bun:"name"`
}

func TestSession_WorksWith(t *testing.T) {
	t.Parallel()
	libraries := map[string]func(ctx context.Context, app *fxtest.App, tx *dbfx.Session) ([]person, error){
		"sqlc and scany": func(ctx context.Context, _ *fxtest.App, tx *dbfx.Session) (list []person, err error) {
			q := &queries{tx}
			if _, err := q.add(ctx, "Ada"); err != nil {
				return nil, err
			}
			return list, sqlscan.Select(ctx, tx, &list, "select id, name from people")
		},
		"squirrel": func(ctx context.Context, _ *fxtest.App, tx *dbfx.Session) (list []person, err error) {
			build := squirrel.StatementBuilder.PlaceholderFormat(squirrel.Dollar)
			if _, err := squirrel.ExecContextWith(ctx, tx, build.Insert("people").Columns("name").Values("Ada")); err != nil {
				return nil, err
			}
			rows, err := build.Select("id", "name").From("people").RunWith(tx.SQLTx()).QueryContext(ctx)
			if err != nil {
				return nil, err
			}
			return list, sqlscan.ScanAll(&list, rows)
		},
		"bun": func(ctx context.Context, app *fxtest.App, tx *dbfx.Session) (list []person, err error) {
			var dialect schema.Dialect = sqlitedialect.New()
			if app.Config.Dialect() == dbfx.Postgres {
				dialect = pgdialect.New()
			}
			db := bun.NewDB(app.DB, dialect)
			if _, err := db.NewInsert().Model(&person{Name: "Ada"}).Conn(tx).Exec(ctx); err != nil {
				return nil, err
			}
			return list, db.NewSelect().Model(&list).Conn(tx).Scan(ctx)
		},
		"sqlx": func(ctx context.Context, _ *fxtest.App, tx *dbfx.Session) (list []person, err error) {
			x := &sqlx.Tx{Tx: tx.SQLTx(), Mapper: reflectx.NewMapper("db")}
			if _, err := x.ExecContext(ctx, "insert into people (name) values ($1)", "Ada"); err != nil {
				return nil, err
			}
			return list, x.SelectContext(ctx, &list, "select id, name from people")
		},
	}
	for name, use := range libraries {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
				app := fxtest.New(t, fxtest.Use(cfg))
				ddl := "create table people (id integer primary key, name text)"
				if cfg.Dialect() == dbfx.Postgres {
					ddl = "create table people (id bigserial primary key, name text)"
				}
				if _, err := app.DB.ExecContext(t.Context(), ddl); err != nil {
					t.Fatal(err)
				}
				err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
					list, err := use(ctx, app, tx)
					if err == nil && (len(list) != 1 || list[0].Name != "Ada" || list[0].ID == 0) {
						t.Errorf("got %+v", list)
					}
					var n int
					if err := app.DB.QueryRowContext(ctx, "select count(*) from people").Scan(&n); err != nil || n != 0 {
						t.Errorf("outside of the session: got %d, %v", n, err)
					}
					return err
				})
				if err != nil {
					t.Error(err)
				}
			})
		})
	}
}
