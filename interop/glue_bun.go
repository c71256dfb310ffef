package interop

import (
	"context"
	"database/sql"
	"errors"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
	"github.com/uptrace/bun/dialect/sqlitedialect"
	"github.com/uptrace/bun/schema"

	"github.com/sergas/dbkit/dbfx"
)

// NewBun gives the handle to bun.
func NewBun(db *sql.DB, cfg dbfx.Config) *bun.DB {
	if cfg.Dialect() == dbfx.Postgres {
		return bun.NewDB(db, pgdialect.New())
	}
	return bun.NewDB(db, sqlitedialect.New())
}

// BunIn is a bun.IDB in a session, for repositories that take one. DB is not
// embedded: a method of it that were forgotten here would run outside of the
// session, without an error.
type BunIn struct {
	DB *bun.DB
	Tx dbfx.DBTX
}

var _ bun.IDB = BunIn{}

// NewValues implements bun.IDB, on the session.
func (b BunIn) NewValues(model any) *bun.ValuesQuery { return b.DB.NewValues(model).Conn(b.Tx) }

// NewSelect implements bun.IDB, on the session.
func (b BunIn) NewSelect() *bun.SelectQuery { return b.DB.NewSelect().Conn(b.Tx) }

// NewInsert implements bun.IDB, on the session.
func (b BunIn) NewInsert() *bun.InsertQuery { return b.DB.NewInsert().Conn(b.Tx) }

// NewUpdate implements bun.IDB, on the session.
func (b BunIn) NewUpdate() *bun.UpdateQuery { return b.DB.NewUpdate().Conn(b.Tx) }

// NewDelete implements bun.IDB, on the session.
func (b BunIn) NewDelete() *bun.DeleteQuery { return b.DB.NewDelete().Conn(b.Tx) }

// NewMerge implements bun.IDB, on the session.
func (b BunIn) NewMerge() *bun.MergeQuery { return b.DB.NewMerge().Conn(b.Tx) }

// NewRaw implements bun.IDB, on the session.
func (b BunIn) NewRaw(q string, args ...any) *bun.RawQuery { return b.DB.NewRaw(q, args...).Conn(b.Tx) }

// NewCreateTable implements bun.IDB, on the session.
func (b BunIn) NewCreateTable() *bun.CreateTableQuery { return b.DB.NewCreateTable().Conn(b.Tx) }

// NewDropTable implements bun.IDB, on the session.
func (b BunIn) NewDropTable() *bun.DropTableQuery { return b.DB.NewDropTable().Conn(b.Tx) }

// NewCreateIndex implements bun.IDB, on the session.
func (b BunIn) NewCreateIndex() *bun.CreateIndexQuery { return b.DB.NewCreateIndex().Conn(b.Tx) }

// NewDropIndex implements bun.IDB, on the session.
func (b BunIn) NewDropIndex() *bun.DropIndexQuery { return b.DB.NewDropIndex().Conn(b.Tx) }

// NewTruncateTable implements bun.IDB, on the session.
func (b BunIn) NewTruncateTable() *bun.TruncateTableQuery { return b.DB.NewTruncateTable().Conn(b.Tx) }

// NewAddColumn implements bun.IDB, on the session.
func (b BunIn) NewAddColumn() *bun.AddColumnQuery { return b.DB.NewAddColumn().Conn(b.Tx) }

// NewDropColumn implements bun.IDB, on the session.
func (b BunIn) NewDropColumn() *bun.DropColumnQuery { return b.DB.NewDropColumn().Conn(b.Tx) }

// Dialect implements bun.IDB.
func (b BunIn) Dialect() schema.Dialect { return b.DB.Dialect() }

// ExecContext implements bun.IConn, with bun's placeholders.
func (b BunIn) ExecContext(ctx context.Context, q string, args ...any) (sql.Result, error) {
	return b.NewRaw(q, args...).Exec(ctx)
}

// QueryContext implements bun.IConn, with bun's placeholders.
func (b BunIn) QueryContext(ctx context.Context, q string, args ...any) (*sql.Rows, error) {
	return b.Tx.QueryContext(ctx, b.DB.QueryGen().FormatQuery(q, args...))
}

// QueryRowContext implements bun.IConn, with bun's placeholders.
func (b BunIn) QueryRowContext(ctx context.Context, q string, args ...any) *sql.Row {
	return b.Tx.QueryRowContext(ctx, b.DB.QueryGen().FormatQuery(q, args...))
}

var errNoBunTx = errors.New("nest a dbfx session: sessions.Run(ctx, …)")

// BeginTx implements bun.IDB: the session is the transaction.
func (b BunIn) BeginTx(context.Context, *sql.TxOptions) (bun.Tx, error) { return bun.Tx{}, errNoBunTx }

// RunInTx implements bun.IDB: the session is the transaction.
func (b BunIn) RunInTx(context.Context, *sql.TxOptions, func(context.Context, bun.Tx) error) error {
	return errNoBunTx
}
