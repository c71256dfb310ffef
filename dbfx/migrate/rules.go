package migrate

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"

	"github.com/pressly/goose/v3/database"
)

// rules is what an engine asks of a migration. There are two.
//
// The lock of a migration with a transaction belongs to that transaction:
// PostgreSQL's advisory lock of a transaction, SQLite's write lock. So it works
// through a pooler, dies with its process, and no one can lose the lock and go
// on. Whether the version is applied is asked under it.
type rules interface {
	// goose is goose's name of the engine.
	goose() database.Dialect
	// countTables is the query of how many tables have the name $1.
	countTables() string
	// table returns the name of the version table from anywhere, whatever a file
	// does to the search_path.
	table(ctx context.Context, tx *sql.Tx) (string, error)
	// role is the one with which the service is connected.
	role(ctx context.Context) (string, error)
	// share lets a role read the version table and the one beside it.
	share(ctx context.Context, tx *sql.Tx, table, role string) error
	// noTable reports whether err says that a table is missing.
	noTable(err error) bool
	// noColumn reports whether err says that a column is missing or has another type.
	noColumn(err error) bool
	// later reports whether the same migration may succeed in a moment, or, after a
	// COMMIT whose answer was lost, be found applied.
	later(err error) bool
	// doubtful reports whether a COMMIT that failed with err may have been made.
	doubtful(err error) bool

	// txOptions are those of a migration's transaction.
	txOptions() driver.TxOptions
	// lock takes the lock in a transaction of dbfx's own, or returns errLocked.
	lock(ctx context.Context, tx *sql.Tx) error
	// holder tells who has the lock, for the log.
	holder(ctx context.Context) string

	// before readies the connection of an attempt. A migration without a
	// transaction gets its lock here, or errLocked, or errDone.
	before(ctx context.Context, conn *sql.Conn, s *step) error
	// after undoes that. Where it fails the connection is not used again.
	after(ctx context.Context, conn *sql.Conn, s *step) error
	// begun gets the lock in the transaction that goose has begun, or returns
	// errLocked or errDone.
	begun(ctx context.Context, raw link, s *step) error
	// statement readies the next statement of a file, and says whether it is done
	// already.
	statement(ctx context.Context, raw link, s *step) (done bool, err error)
	// refuse looks at a statement of a Go migration.
	refuse(query string, s *step) error
	// finish checks what the migration has done.
	finish(ctx context.Context, tx querier, s *step) error
	// watch looks who is in the way of a step that runs.
	watch(ctx context.Context, s *step) string
}

var (
	// errLocked: another process migrates.
	errLocked = errors.New("another process migrates")
	// errDone: another process has done it.
	errDone = errors.New("done by another process")
)

// isApplied asks for one version, under the lock.
func (m *Migrator) isApplied(ctx context.Context, raw link, version int64) (bool, error) {
	rows, err := raw.query(ctx, `select case when is_applied then 1 else 0 end from `+m.opt.table+
		` where version_id = $1 order by id desc limit 1`, version)
	return err == nil && len(rows) > 0 && rows[0][0] == int64(1), err
}

// mustBeOpen returns errDone where nothing is left to do for the step.
func (s *step) mustBeOpen(ctx context.Context, raw link) error {
	applied, err := s.m.isApplied(ctx, raw, s.mig.version)
	if err == nil && applied == s.up {
		err = errDone
	}
	return err
}
