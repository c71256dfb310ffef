package migrate

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"

	"github.com/pressly/goose/v3/database"
	"go.uber.org/zap"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/dbfx/internal/engine"
	"github.com/sergas/dbkit/dbfx/internal/sqlite"
)

// liteRules are SQLite's.
//
// BEGIN takes the write lock, which is the lock across processes: it dies with
// its process, and who waits is woken by SQLite. A migration without a
// transaction cannot hold it, and so holds the write lock of a second file beside
// the database, which stays there: a lock file that is removed can be held twice.
type liteRules struct{ m *Migrator }

var _ rules = (*liteRules)(nil)

func (*liteRules) goose() database.Dialect { return database.DialectSQLite3 }

func (*liteRules) countTables() string {
	return "select count(*) from sqlite_schema where type = 'table' and lower(name) = replace(lower($1), 'main.', '')"
}

func (r *liteRules) table(context.Context, *sql.Tx) (string, error) { return r.m.opt.table, nil }

func (*liteRules) role(context.Context) (string, error) { return "", nil }

func (*liteRules) share(context.Context, *sql.Tx, string, string) error { return nil }

func (*liteRules) noTable(err error) bool { return strings.Contains(err.Error(), "no such table") }

func (*liteRules) noColumn(err error) bool { return strings.Contains(err.Error(), "no such column") }

// later: not after a COMMIT that the disk failed. The process sees it rolled back,
// and only one that recovers the log sees whether it is.
func (*liteRules) later(err error) bool {
	return dbfx.IsRetryable(err) && !errors.Is(err, dbfx.ErrCommitUnknown)
}

func (*liteRules) doubtful(err error) bool { return sqlite.CommitOutcome(err) == engine.Unknown }

func (*liteRules) txOptions() driver.TxOptions { return driver.TxOptions{} }

func (*liteRules) lock(context.Context, *sql.Tx) error { return nil } // BEGIN has

func (*liteRules) holder(context.Context) string { return "" }

func (r *liteRules) before(ctx context.Context, conn *sql.Conn, s *step) error {
	if s.mig.noTx(s.up) {
		if err := r.lockFile(ctx, s); err != nil {
			return err
		}
		if err := s.readyBare(ctx, conn); err != nil {
			return err
		}
	}
	if !s.mig.rebuilds(s.up) {
		return nil
	}
	var on int
	if err := conn.QueryRowContext(ctx, "pragma foreign_keys").Scan(&on); err != nil || on == 0 {
		return err
	}
	// Inside a transaction the pragma does nothing, and says nothing.
	s.fkOff = true
	if err := setForeignKeys(ctx, conn, 0); err != nil {
		return err
	}
	return nil
}

func (r *liteRules) after(ctx context.Context, conn *sql.Conn, s *step) error {
	if s.unlock != nil {
		defer s.unlock()
	}
	if s.mig.noTx(s.up) { // such a file may have left a transaction, or the pragma
		s.fkOff = true
		_, _ = conn.ExecContext(ctx, "rollback")
	}
	if !s.fkOff {
		return nil
	}
	return setForeignKeys(ctx, conn, 1)
}

func setForeignKeys(ctx context.Context, conn *sql.Conn, want int) error {
	if _, err := conn.ExecContext(ctx, fmt.Sprintf("pragma foreign_keys = %d", want)); err != nil {
		return err
	}
	var got int
	if err := conn.QueryRowContext(ctx, "pragma foreign_keys").Scan(&got); err != nil {
		return err
	}
	if got != want {
		return fmt.Errorf("pragma foreign_keys = %d left it at %d", want, got)
	}
	return nil
}

// lockFile takes the write lock of the file beside the database.
func (r *liteRules) lockFile(ctx context.Context, s *step) error {
	path := s.m.cfg.File()
	if path == "" {
		return nil // in memory: there is no other process
	}
	cfg := dbfx.DefaultConfig()
	cfg.SQLitePath, cfg.SQLiteFileMode, cfg.SQLiteBusyTimeout = path+"-migrate", s.m.cfg.SQLiteFileMode, s.m.cfg.SQLiteBusyTimeout
	db, err := dbfx.Open(ctx, cfg)
	if err != nil {
		if s.m.rules.later(err) {
			return errLocked
		}
		return err
	}
	closeIt := func() { _ = db.Close(context.WithoutCancel(ctx)) }
	tx, err := db.DB().BeginTx(context.WithoutCancel(ctx), nil)
	if err != nil {
		closeIt()
		if s.m.rules.later(err) {
			return errLocked
		}
		return err
	}
	s.unlock = func() {
		_ = tx.Rollback()
		closeIt()
	}
	return nil
}

func (r *liteRules) begun(ctx context.Context, raw link, s *step) error {
	if err := s.mustBeOpen(ctx, raw); err != nil {
		return err
	}
	if !s.fkOff {
		return nil
	}
	var err error
	s.before, err = takeSnapshot(ctx, rawQuerier{raw})
	return err
}

func (r *liteRules) statement(ctx context.Context, raw link, s *step) (bool, error) {
	if !s.mig.script.noTx {
		return false, nil
	}
	return false, s.mark(ctx, raw)
}

// refuse keeps a Go migration from dropping a table under foreign keys: SQLite
// then deletes its rows first, and what refers to them.
func (*liteRules) refuse(query string, s *step) error {
	if s.fkOff || s.mig.noTx(s.up) || !follows(code(engine.SQLite, query), "drop", "table") {
		return nil
	}
	return errors.New("DROP TABLE with foreign keys on deletes the rows that refer to the table; set Rebuild in this migration")
}

func (r *liteRules) finish(ctx context.Context, tx querier, s *step) error {
	if s.before == nil {
		return nil
	}
	now, err := takeSnapshot(ctx, sqlQuerier{tx})
	if err != nil {
		return err
	}
	for _, lost := range s.before.lost(now) {
		s.m.log.Warn("the rebuild of a table has dropped what stood on it; make it again in the file", file(s), zap.String("lost", lost))
	}
	if err := s.before.broken(now); err != nil {
		return s.explain(err, statement{}, "")
	}
	return nil
}

func (*liteRules) watch(context.Context, *step) string { return "" }

// rebuilds reports whether a direction drops a table, or asks for foreign keys to
// be off: then they are, before the transaction.
func (m *migration) rebuilds(up bool) bool {
	if m.code != nil {
		return m.code.Rebuild
	}
	for _, s := range m.statements(up) {
		if t := s.tokens(); follows(t, "drop", "table") || follows(t, "pragma", "foreign_keys") {
			return true
		}
	}
	return false
}
