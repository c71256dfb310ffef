package migrate

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/pressly/goose/v3/database"
	"go.uber.org/zap"
)

// adopt marks what is up to version as applied.
func (m *Migrator) adopt(ctx context.Context, tx *sql.Tx, c *catalog, version int64) error {
	s, err := m.gooseStore()
	if err != nil {
		return err
	}
	for _, mig := range c.list {
		if mig.version > version {
			break
		}
		if err := s.Insert(ctx, tx, database.InsertRequest{Version: mig.version}); err != nil {
			return err
		}
		if err := m.writeRecord(ctx, tx, mig); err != nil {
			return err
		}
	}
	m.log.Info("the schema that is there counts as migrated", zap.Int64("version", version))
	return nil
}

// adoptAlembic takes over what Alembic has made, where it has.
func (m *Migrator) adoptAlembic(ctx context.Context, c *catalog) (st state, err error) {
	if c.find(m.opt.baseline) == nil {
		return st, fmt.Errorf("%w: %d, the baseline of Alembic's %s", ErrUnknownVersion, m.opt.baseline, m.opt.alembic)
	}
	revisions, err := m.alembicRevisions(ctx)
	if err != nil {
		return st, m.explain(ctx, err)
	}
	if len(revisions) == 0 {
		return m.readState(ctx, m.db)
	}
	if len(revisions) != 1 || revisions[0] != m.opt.alembic {
		return st, fmt.Errorf("dbfx: migrate: Alembic has this database at %s, and the baseline was made of %s; run `alembic upgrade %s` first",
			strings.Join(revisions, ", "), m.opt.alembic, m.opt.alembic)
	}
	err = m.on(ctx, func(ctx context.Context, m *Migrator, db *sql.DB) error {
		return m.locked(ctx, db, func(ctx context.Context, tx *sql.Tx) error {
			if err := m.ensureTables(ctx, tx); err != nil {
				return err
			}
			if st, err = m.readState(ctx, tx); err != nil || len(st.order) > 0 {
				return err // another process has been here
			}
			if err := m.adopt(ctx, tx, c, m.opt.baseline); err != nil {
				return err
			}
			st, err = m.readState(ctx, tx)
			return err
		})
	})
	return st, m.explain(ctx, err)
}

// alembicRevisions are what Alembic's table holds, none where there is no table.
func (m *Migrator) alembicRevisions(ctx context.Context) ([]string, error) {
	rows, err := m.db.QueryContext(ctx, "select version_num from alembic_version")
	if err != nil {
		if m.rules.noTable(err) {
			return nil, nil
		}
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var list []string
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return nil, err
		}
		list = append(list, text)
	}
	return list, rows.Err()
}
