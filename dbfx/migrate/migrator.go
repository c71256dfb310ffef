package migrate

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/sergas/dbkit/dbfx"
)

// Migrator brings a database to a version. It is safe for concurrent use, in one
// process and in many: each migration runs once.
//
// Its methods end with their context. What ran then is rolled back, or, without a
// transaction, is gone on with by the next call.
type Migrator struct {
	cfg      dbfx.Config
	db       *sql.DB
	sessions *dbfx.Sessions
	log      *zap.Logger
	source   *source
	opt      options
	rules    rules
	seen     *seen

	mu *sync.Mutex // one run at a time
}

// Applied is a migration that a call has run.
type Applied struct {
	Version int64
	File    string
	Up      bool
	Took    time.Duration
}

// New returns a Migrator of an open database. ForDatabase and WithMode mean
// nothing to it.
func New(db *dbfx.Database, fsys fs.FS, opts ...Option) (*Migrator, error) {
	return newMigrator(db.Config(), db.DB(), db.Sessions(), db.Logger(), newSource(fsys, opts))
}

func newMigrator(cfg dbfx.Config, db *sql.DB, sessions *dbfx.Sessions, log *zap.Logger, src *source) (*Migrator, error) {
	if log == nil {
		log = zap.NewNop()
	}
	m := &Migrator{cfg: cfg, db: db, sessions: sessions, log: log, source: src, opt: src.opt, seen: &src.seen, mu: &sync.Mutex{}}
	if err := m.opt.check(); err != nil {
		return nil, err
	}
	m.rules = m.rulesOn(db, cfg.Pooler == dbfx.PoolerTransaction)
	return m, nil
}

func (m *Migrator) rulesOn(db *sql.DB, pooler bool) rules {
	if m.cfg.Dialect() == dbfx.Postgres {
		return &pgRules{m: m, db: db, pooler: pooler}
	}
	return &liteRules{m}
}

// Up applies every pending migration, oldest first, each in a transaction with its
// version where the file does not say NO TRANSACTION. It returns what it ran; what
// another process ran at the same time is not among it.
//
// Errors: ErrOutOfOrder, *Error, or what kept it from beginning.
func (m *Migrator) Up(ctx context.Context) ([]Applied, error) { return m.up(ctx, math.MaxInt64) }

// To brings the database to a version: up, or down where it is ahead. 0 is the
// empty schema. The way down is refused where ENV is production, unless AllowDown.
func (m *Migrator) To(ctx context.Context, version int64) ([]Applied, error) {
	c, err := m.source.catalog(m.cfg.Dialect())
	if err != nil {
		return nil, err
	}
	if version != 0 && c.find(version) == nil {
		return nil, fmt.Errorf("%w: %d", ErrUnknownVersion, version)
	}
	s, err := m.readState(ctx, m.db)
	if err != nil {
		return nil, m.explain(ctx, err)
	}
	if s.version() > version {
		return m.down(ctx, func(s state) int {
			for i, v := range s.order {
				if v > version {
					return len(s.order) - i
				}
			}
			return 0
		})
	}
	return m.up(ctx, version)
}

// Down takes back the migration that was applied last. It is ErrProduction where
// ENV is production, unless AllowDown.
func (m *Migrator) Down(ctx context.Context) ([]Applied, error) {
	return m.down(ctx, func(s state) int { return min(1, len(s.order)) })
}

// Baseline marks every migration up to version as applied, without running it: for
// a database whose schema is there already. It is an error where a version table
// has a version.
func (m *Migrator) Baseline(ctx context.Context, version int64) error {
	c, err := m.source.catalog(m.cfg.Dialect())
	if err != nil {
		return err
	}
	if c.find(version) == nil {
		return fmt.Errorf("%w: %d", ErrUnknownVersion, version)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	written := false // by a try whose COMMIT was lost
	err = m.on(ctx, func(ctx context.Context, m *Migrator, db *sql.DB) error {
		return m.locked(ctx, db, func(ctx context.Context, tx *sql.Tx) error {
			if err := m.ensureTables(ctx, tx); err != nil {
				return err
			}
			s, err := m.readState(ctx, tx)
			if err == nil && written && s.version() == version {
				return nil
			}
			if err == nil && len(s.order) > 0 {
				err = fmt.Errorf("the database is at version %d; a baseline is for one without a version", s.version())
			}
			if err != nil {
				return err
			}
			written = true
			return m.adopt(ctx, tx, c, version)
		})
	})
	return m.explain(ctx, err)
}

// down takes back as many as count says, the last applied first.
func (m *Migrator) down(ctx context.Context, count func(state) int) ([]Applied, error) {
	if m.cfg.IsProduction() && !m.opt.down {
		return nil, ErrProduction
	}
	c, err := m.source.catalog(m.cfg.Dialect())
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s, err := m.readState(ctx, m.db)
	if err != nil {
		return nil, m.explain(ctx, err)
	}
	var list []*migration
	for i := range count(s) {
		version := s.order[len(s.order)-1-i]
		mig := c.find(version)
		switch {
		case mig == nil:
			return nil, fmt.Errorf("%w: %d is applied, and its file is not here", ErrUnknownVersion, version)
		case !mig.reversible():
			return nil, &Error{File: mig.file, Err: errors.New("it has no way down")}
		}
		list = append(list, mig)
	}
	return m.run(ctx, c, list, false)
}

func (m *Migrator) up(ctx context.Context, target int64) ([]Applied, error) {
	c, err := m.source.catalog(m.cfg.Dialect())
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s, err := m.readShared(ctx)
	if err != nil {
		return nil, m.explain(ctx, err)
	}
	m.warn(c, s)
	list := s.pending(c, target)
	if len(list) == 0 {
		m.seen.keep(c, s)
		return nil, nil
	}
	if m.opt.alembic != "" && len(s.order) == 0 {
		if s, err = m.adoptAlembic(ctx, c); err != nil {
			return nil, err
		}
		list = s.pending(c, target)
	}
	if late := s.late(list); len(late) > 0 && !m.opt.outOfOrder {
		return nil, fmt.Errorf("%w: %s is older than version %d, which is applied; give it a newer number, or use AllowOutOfOrder",
			ErrOutOfOrder, names(late), s.version())
	}
	return m.run(ctx, c, list, true)
}

// readShared reads the state at a start. Where another role made the tables and
// has not shared them, it does so now.
func (m *Migrator) readShared(ctx context.Context) (state, error) {
	s, err := m.readState(ctx, m.db)
	if err == nil || m.cfg.DatabaseMigrationURL.IsEmpty() || sqlState(err) != "42501" {
		return s, err
	}
	if err := m.on(ctx, func(ctx context.Context, m *Migrator, db *sql.DB) error {
		_, err := m.prepare(ctx, db)
		return err
	}); err != nil {
		return s, err
	}
	return m.readState(ctx, m.db)
}

// warn says what is no error: a file that was changed after it was applied, and a
// schema that is newer than this program.
func (m *Migrator) warn(c *catalog, s state) {
	if changed := s.changed(c); len(changed) > 0 {
		m.log.Warn("migrations were changed after they had been applied", zap.String("files", names(changed)))
	}
	if s.version() > c.latest() {
		m.log.Info("the schema is newer than this program", zap.Int64("version", s.version()), zap.Int64("known", c.latest()))
	}
}

func names(list []*migration) string {
	text := ""
	for i, m := range list {
		if i > 0 {
			text += ", "
		}
		text += m.file
	}
	return text
}

// explain says of a context's end whose time was over.
func (m *Migrator) explain(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		return fmt.Errorf("dbfx: migrate: the time was over; a start has what Fx gives it: raise fx.StartTimeout, or migrate before the start: %w", err)
	}
	var mine *Error
	if errors.As(err, &mine) {
		return err
	}
	return fmt.Errorf("dbfx: migrate: %w", err)
}
