package migrate

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/sergas/dbkit/dbfx"
)

// ErrSeeds: seeds are for development and tests, and ENV says neither.
var ErrSeeds = errors.New("dbfx: migrate: seeds run only where ENV is development, dev, test or testing")

// Seed runs the files of Seeds that have not run, and returns their names. Several
// processes may call it at once.
func (m *Migrator) Seed(ctx context.Context) ([]string, error) {
	if !m.maySeed() {
		return nil, fmt.Errorf("%w: it is %q", ErrSeeds, m.cfg.Env)
	}
	if m.opt.seeds == nil {
		return nil, errors.New("dbfx: migrate: there are no seeds; see the option Seeds")
	}
	fsys, err := root(m.opt.seeds, m.cfg.Dialect())
	if err != nil {
		return nil, err
	}
	list, err := fs.Glob(fsys, "*.sql")
	if err != nil {
		return nil, fmt.Errorf("dbfx: migrate: seeds: %w", err)
	}
	if len(list) == 0 {
		return nil, errors.New("dbfx: migrate: seeds: want .sql files, got none")
	}
	if err := m.locked(ctx, m.db, m.seedTable); err != nil {
		return nil, fmt.Errorf("dbfx: migrate: seeds: %w", err)
	}
	var ran []string
	for _, name := range list {
		did, err := m.seed(ctx, fsys, name)
		if err != nil {
			return ran, fmt.Errorf("dbfx: migrate: seed %s: %w", name, err)
		}
		if did {
			ran = append(ran, name)
			m.log.Info("seeded", zap.String("file", name))
		}
	}
	return ran, nil
}

// maySeed reports whether ENV is one of development and tests.
func (m *Migrator) maySeed() bool {
	return slices.Contains([]string{"development", "dev", "test", "testing"}, strings.ToLower(strings.TrimSpace(m.cfg.Env)))
}

func (m *Migrator) seedWhereAllowed(ctx context.Context) error {
	if !m.maySeed() {
		m.log.Debug("no seeds here", zap.String("env", m.cfg.Env))
		return nil
	}
	_, err := m.Seed(ctx)
	return err
}

// seed runs one file once. Its name is written first: a second process waits for
// the first there, and then finds it.
func (m *Migrator) seed(ctx context.Context, fsys fs.FS, name string) (did bool, err error) {
	text, err := fs.ReadFile(fsys, name)
	if err != nil {
		return false, err
	}
	err = m.sessions.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
		result, err := tx.ExecContext(ctx, `insert into dbfx_seeds (name, ran_at) values ($1, $2) on conflict (name) do nothing`,
			name, time.Now().UTC().Format(time.RFC3339))
		if err != nil {
			return err
		}
		n, err := result.RowsAffected()
		if did = n > 0; err != nil || !did {
			return err
		}
		_, err = tx.ExecContext(ctx, strings.TrimPrefix(string(text), "\uFEFF"))
		return err
	}, dbfx.Durable(), dbfx.Retry(dbfx.RetryPolicy{}), dbfx.Name("seed "+name))
	return did, err
}

func (m *Migrator) seedTable(ctx context.Context, tx *sql.Tx) error {
	_, err := tx.ExecContext(ctx, `create table if not exists dbfx_seeds (name text primary key, ran_at text not null)`)
	return err
}
