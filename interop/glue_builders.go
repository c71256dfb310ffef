package interop

import (
	"context"

	"github.com/Masterminds/squirrel"
	"github.com/georgysavva/scany/v2/sqlscan"
	"github.com/jmoiron/sqlx"

	"github.com/sergas/dbkit/dbfx"
)

// Person is a row of people.
type Person struct {
	ID   int64  `db:"id" bun:"id,pk"`
	Name string `db:"name" bun:"name"`
}

// AddBySquirrel inserts through a pool or a session.
func AddBySquirrel(ctx context.Context, db dbfx.DBTX, p Person) error {
	insert := squirrel.Insert("people").Columns("id", "name").Values(p.ID, p.Name).PlaceholderFormat(squirrel.Dollar)
	_, err := squirrel.ExecContextWith(ctx, db, insert)
	return err
}

// ListBySquirrel reads with squirrel's text and scany's scan.
func ListBySquirrel(ctx context.Context, db dbfx.DBTX) (list []Person, err error) {
	query, args, err := squirrel.Select("id", "name").From("people").OrderBy("id").PlaceholderFormat(squirrel.Dollar).ToSql()
	if err != nil {
		return nil, err
	}
	return list, sqlscan.Select(ctx, db, &list, query, args...)
}

// AddBySqlx is NamedExec for a session: the one of an sqlx.Tx that was not made
// by sqlx does not know which placeholders its driver takes.
func AddBySqlx(ctx context.Context, db dbfx.DBTX, p Person) error {
	query, args, err := sqlx.Named("insert into people (id, name) values (:id, :name)", p)
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, sqlx.Rebind(sqlx.DOLLAR, query), args...)
	return err
}

// ListBySqlx is Select for a session.
func ListBySqlx(ctx context.Context, db dbfx.DBTX) (list []Person, err error) {
	rows, err := db.QueryContext(ctx, "select id, name from people order by id")
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	return list, sqlx.StructScan(rows, &list)
}
