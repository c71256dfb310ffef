package interop

import (
	"context"
	"database/sql"
	"errors"

	"entgo.io/ent/dialect"
	entsql "entgo.io/ent/dialect/sql"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/interop/ent"
)

// EntIn is an ent client on a pool or in a session. There the client's Tx is the
// session, which Run ends: Commit does nothing, and Rollback is an error.
func EntIn(db dbfx.DBTX, cfg dbfx.Config) *ent.Client {
	name := dialect.SQLite
	if cfg.Dialect() == dbfx.Postgres {
		name = dialect.Postgres
	}
	if pool, ok := db.(*sql.DB); ok {
		return ent.NewClient(ent.Driver(entsql.OpenDB(name, pool)))
	}
	return ent.NewClient(ent.Driver(entDriver{entsql.NewDriver(name, entsql.Conn{ExecQuerier: db})}))
}

type entDriver struct{ *entsql.Driver }

// Tx is asked for by ent, too, where one create has several statements.
func (d entDriver) Tx(context.Context) (dialect.Tx, error) { return entTx{dialect.NopTx(d)}, nil }

type entTx struct{ dialect.Tx }

// Rollback says that it cannot.
func (entTx) Rollback() error {
	return errors.New("the session is the transaction: return the error from Run")
}
