package interop

import (
	"context"

	"entgo.io/ent/dialect"
	entsql "entgo.io/ent/dialect/sql"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/interop/ent"
)

// EntIn is an ent client on a pool or in a session. Its Tx is the session.
func EntIn(db dbfx.DBTX, cfg dbfx.Config) *ent.Client {
	name := dialect.SQLite
	if cfg.Dialect() == dbfx.Postgres {
		name = dialect.Postgres
	}
	return ent.NewClient(ent.Driver(entDriver{entsql.NewDriver(name, entsql.Conn{ExecQuerier: db})}))
}

type entDriver struct{ *entsql.Driver }

// Tx is asked for by ent where one create has several statements.
func (d entDriver) Tx(context.Context) (dialect.Tx, error) { return dialect.NopTx(d), nil }
