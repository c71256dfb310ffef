package migrate

import (
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/dbfx/internal/engine"
)

// run applies or takes back the migrations of list in their order.
func (m *Migrator) run(ctx context.Context, c *catalog, list []*migration, up bool) ([]Applied, error) {
	var done []Applied
	if len(list) == 0 {
		return nil, nil
	}
	err := m.on(ctx, func(ctx context.Context, m *Migrator, db *sql.DB) error {
		table, err := m.prepare(ctx, db)
		if err != nil {
			return err
		}
		m = m.withTable(db, table)
		begin := time.Now()
		for i, mig := range list {
			log := m.log.With(zap.String("file", mig.file), zap.Int("n", i+1), zap.Int("of", len(list)))
			log.Info(map[bool]string{true: "migrating", false: "migrating down"}[up])
			start := time.Now()
			ran, err := m.apply(ctx, db, mig, up, log)
			if err != nil {
				return err
			}
			took := time.Since(start)
			if !ran {
				log.Info("migrated by another process", zap.Duration("waited", took))
				continue
			}
			done = append(done, Applied{mig.version, mig.file, up, took})
			log.Info("migrated", zap.Duration("took", took), zap.Duration("elapsed", time.Since(begin)))
		}
		return nil
	})
	m.look(context.WithoutCancel(ctx), c)
	return done, m.explain(ctx, err)
}

// on calls fn with the handle to migrate on, and a Migrator that watches over it:
// the service's own, or one of DATABASE_MIGRATION_URL, which goes around a pooler.
func (m *Migrator) on(ctx context.Context, fn func(ctx context.Context, m *Migrator, db *sql.DB) error) error {
	if m.cfg.DatabaseMigrationURL.IsEmpty() {
		return fn(ctx, m, m.db)
	}
	cfg := m.cfg
	cfg.DatabaseURL, cfg.DatabaseMigrationURL, cfg.DatabaseReplicaURL = cfg.DatabaseMigrationURL, dbfx.Secret{}, dbfx.Secret{}
	cfg.Pooler, cfg.PoolSize, cfg.MaxOverflow = dbfx.PoolerOff, 2, 1
	db, err := dbfx.Open(ctx, cfg, dbfx.WithLogger(m.log))
	if err != nil {
		return fmt.Errorf("DATABASE_MIGRATION_URL: %w", err)
	}
	defer func() { _ = db.Close(context.WithoutCancel(ctx)) }()
	around := *m // readiness goes on asking with m
	around.rules = around.rulesOn(db.DB(), false)
	return fn(ctx, &around, db.DB())
}

// prepare makes the tables where they are missing, and returns the name of the
// first from anywhere. Where another role migrates, the service's may read them: it
// asks for the version at every start.
func (m *Migrator) prepare(ctx context.Context, db *sql.DB) (table string, err error) {
	role := ""
	if db != m.db {
		if role, err = m.rules.role(ctx); err != nil {
			return "", err
		}
	}
	err = m.locked(ctx, db, func(ctx context.Context, tx *sql.Tx) (err error) {
		if err = m.ensureTables(ctx, tx); err != nil {
			return err
		}
		if table, err = m.rules.table(ctx, tx); err != nil || role == "" {
			return err
		}
		return m.rules.share(ctx, tx, table, role)
	})
	return table, err
}

// withTable returns a Migrator that names the version table so.
func (m *Migrator) withTable(db *sql.DB, name string) *Migrator {
	named := *m
	named.opt.table = name
	named.rules = named.rulesOn(db, named.cfg.Pooler == dbfx.PoolerTransaction && named.cfg.DatabaseMigrationURL.IsEmpty())
	return &named
}

// apply runs one migration until it is done, by this process or by another, or
// cannot be.
func (m *Migrator) apply(ctx context.Context, db *sql.DB, mig *migration, up bool, log *zap.Logger) (ran bool, err error) {
	w := waiting{m: m, log: log}
	var unknown error // of an earlier try: the next one finds what became of it
	for {
		s := &step{m: m, mig: mig, up: up, begin: time.Now(), hash: sha256.New()}
		err := s.run(ctx, db)
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, errDone):
			return unknown != nil, nil
		case ctx.Err() != nil:
			return false, cmp.Or(unknown, err)
		case errors.Is(err, errLocked):
			err = w.forLock(ctx)
		case s.later(err):
			if errors.Is(err, errLate) && errors.Is(unknown, errLate) {
				return false, err // it takes that long
			}
			if errors.Is(err, dbfx.ErrCommitUnknown) {
				unknown = err
			}
			err = w.again(ctx, s, err)
		default:
			return false, err
		}
		if err != nil {
			return false, cmp.Or(unknown, err)
		}
	}
}

// later reports whether the migration is tried again after err. One without a
// transaction is not after a lost connection, behind which it may still run. Of a
// Go migration only the database's own errors count: it may have called others.
func (s *step) later(err error) bool {
	postgres := s.m.cfg.Dialect() == dbfx.Postgres
	switch {
	case errors.Is(err, dbfx.ErrCommitUnknown):
		return s.m.rules.later(err)
	case postgres && s.mig.noTx(s.up) && sqlState(err) != "55P03":
		return false
	case postgres && s.mig.code != nil && sqlState(err) == "" && !errors.Is(err, driver.ErrBadConn) &&
		!errors.Is(err, engine.ErrLostReply) && !errors.Is(err, engine.ErrLost):
		return false
	}
	return s.m.rules.later(err)
}

// locked runs fn in a transaction that has the lock of migrations. fn runs again
// where the COMMIT was lost, so it must bear what it finds of itself.
func (m *Migrator) locked(ctx context.Context, db *sql.DB, fn func(ctx context.Context, tx *sql.Tx) error) error {
	w := waiting{m: m, log: m.log}
	for {
		err := m.once(ctx, db, fn)
		switch {
		case err == nil || ctx.Err() != nil:
			return err
		case errors.Is(err, errLocked):
			err = w.forLock(ctx)
		case m.rules.later(err):
			err = w.again(ctx, nil, err)
		default:
			return err
		}
		if err != nil {
			return err
		}
	}
}

func (m *Migrator) once(ctx context.Context, db *sql.DB, fn func(ctx context.Context, tx *sql.Tx) error) error {
	inner, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	tx, err := db.BeginTx(inner, &sql.TxOptions{Isolation: sql.IsolationLevel(m.rules.txOptions().Isolation)})
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if err := m.rules.lock(ctx, tx); err != nil {
		return err
	}
	if err := fn(ctx, tx); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return m.commit(tx.Commit, cancel)
}

// commit bounds a COMMIT by COMMIT_TIMEOUT, and says what a failed one leaves.
func (m *Migrator) commit(send func() error, cancel context.CancelFunc) error {
	timer := time.AfterFunc(m.cfg.CommitTimeout, cancel)
	err := send()
	late := !timer.Stop()
	switch doubtful := err != nil && m.rules.doubtful(err); {
	case err == nil:
		return nil
	case doubtful && late:
		err = &dbfx.CommitUnknownError{Err: fmt.Errorf("%w (%s); raise it where it takes that long", errLate, m.cfg.CommitTimeout)}
	case doubtful:
		err = &dbfx.CommitUnknownError{Err: err}
	}
	return fmt.Errorf("commit: %w", err)
}

var errLate = errors.New("no answer within COMMIT_TIMEOUT")
