package interop

import (
	"context"
	"database/sql"

	"gorm.io/driver/postgres"
	"gorm.io/driver/sqlite"
	"gorm.io/gorm"

	"github.com/sergas/dbkit/dbfx"
)

// NewGorm gives the handle to gorm. gorm.io/driver/sqlite is the dialect only:
// its own driver, mattn's, is linked and not used. github.com/glebarez/sqlite
// cannot be linked beside dbfx: its copy of the driver registers the name sqlite
// a second time, and the program panics before main.
func NewGorm(db *sql.DB, cfg dbfx.Config) (*gorm.DB, error) {
	dialect := sqlite.New(sqlite.Config{Conn: db})
	if cfg.Dialect() == dbfx.Postgres {
		dialect = postgres.New(postgres.Config{Conn: db})
	}
	return gorm.Open(dialect, &gorm.Config{})
}

// GormIn is gorm in a session: the session is the transaction.
func GormIn(ctx context.Context, db *gorm.DB, tx dbfx.DBTX) *gorm.DB {
	in := db.Session(&gorm.Session{NewDB: true, Context: ctx, SkipDefaultTransaction: true})
	in.Statement.ConnPool = tx
	return in
}
