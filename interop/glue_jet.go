package interop

import (
	"context"

	"github.com/go-jet/jet/v2/postgres"
	"github.com/go-jet/jet/v2/sqlite"

	"github.com/sergas/dbkit/dbfx"
)

// jetPerson is where jet puts a row; its generator writes such types, and the
// tables below.
type jetPerson struct {
	ID   int64  `alias:"people.id" sql:"primary_key"`
	Name string `alias:"people.name"`
}

// AddByJet inserts through a pool or a session.
func AddByJet(ctx context.Context, db dbfx.DBTX, cfg dbfx.Config, p Person) (err error) {
	if cfg.Dialect() == dbfx.Postgres {
		id, name := postgres.IntegerColumn("id"), postgres.StringColumn("name")
		_, err = postgres.NewTable("", "people", "", id, name).INSERT(id, name).VALUES(p.ID, p.Name).ExecContext(ctx, db)
		return err
	}
	id, name := sqlite.IntegerColumn("id"), sqlite.StringColumn("name")
	_, err = sqlite.NewTable("", "people", "", id, name).INSERT(id, name).VALUES(p.ID, p.Name).ExecContext(ctx, db)
	return err
}

// ListByJet reads through a pool or a session.
func ListByJet(ctx context.Context, db dbfx.DBTX, cfg dbfx.Config) (list []Person, err error) {
	var rows []jetPerson
	if cfg.Dialect() == dbfx.Postgres {
		id, name := postgres.IntegerColumn("id"), postgres.StringColumn("name")
		err = postgres.SELECT(id, name).FROM(postgres.NewTable("", "people", "", id, name)).ORDER_BY(id.ASC()).QueryContext(ctx, db, &rows)
	} else {
		id, name := sqlite.IntegerColumn("id"), sqlite.StringColumn("name")
		err = sqlite.SELECT(id, name).FROM(sqlite.NewTable("", "people", "", id, name)).ORDER_BY(id.ASC()).QueryContext(ctx, db, &rows)
	}
	for _, row := range rows {
		list = append(list, Person(row))
	}
	return list, err
}
