package migrate

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"go.uber.org/zap"

	"github.com/sergas/dbkit/dbfx"
)

// run applies or takes back the migrations of list in their order.
func (m *Migrator) run(ctx context.Context, c *catalog, list []*migration, up bool) ([]Applied, error) {
	var done []Applied
	if len(list) == 0 {
		return nil, nil
	}
	err := m.on(ctx, func(ctx context.Context, m *Migrator, db *sql.DB) error {
		if err := m.locked(ctx, db, func(ctx context.Context, tx *sql.Tx) error { return m.ensureTables(ctx, tx) }); err != nil {
			return err
		}
		begin := time.Now()
		for i, mig := range list {
			log := m.log.With(zap.String("file", mig.file), zap.Int("n", i+1), zap.Int("of", len(list)))
			log.Info(map[bool]string{true: "migrating", false: "migrating down"}[up])
			start := time.Now()
			ran, err := m.apply(ctx, db, c, mig, up, log)
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

// apply runs one migration until it is done, by this process or by another, or
// cannot be.
func (m *Migrator) apply(ctx context.Context, db *sql.DB, c *catalog, mig *migration, up bool, log *zap.Logger) (ran bool, err error) {
	w := waiting{m: m, log: log}
	for {
		s := &step{m: m, catalog: c, mig: mig, up: up, begin: time.Now()}
		err := s.run(ctx, db)
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, errDone):
			return false, nil
		case ctx.Err() != nil:
			return false, err
		case errors.Is(err, errLocked):
			err = w.forLock(ctx)
		case m.rules.later(err) && !(mig.noTx(up) && sqlState(err) != "55P03" && m.cfg.Dialect() == dbfx.Postgres):
			err = w.again(ctx, s, err)
		default:
			return false, err
		}
		if err != nil {
			return false, err
		}
	}
}

// locked runs fn in a transaction that has the lock of migrations.
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
	stop := m.commitTimer(cancel)
	defer stop()
	return tx.Commit()
}

// commitTimer bounds a COMMIT by COMMIT_TIMEOUT.
func (m *Migrator) commitTimer(cancel context.CancelFunc) (stop func()) {
	timer := time.AfterFunc(m.cfg.CommitTimeout, cancel)
	return func() { timer.Stop() }
}

// waiting paces the tries of one migration.
type waiting struct {
	m     *Migrator
	log   *zap.Logger
	since time.Time
	told  time.Time
	tries int
}

// forLock waits a moment for the process that migrates. The lock is free again
// after each migration, so the moment is short.
func (w *waiting) forLock(ctx context.Context) error {
	now := time.Now()
	if w.since.IsZero() {
		w.since, w.told = now, now.Add(-sayEvery+500*time.Millisecond)
	}
	if now.Sub(w.told) > sayEvery {
		w.told = now
		w.log.Info("waiting for another process that migrates", zap.Duration("since", now.Sub(w.since)),
			zap.String("who", w.m.rules.holder(ctx)))
	}
	return pause(ctx, 20*time.Millisecond, 100*time.Millisecond)
}

// again waits before the next try of what failed for now, longer each time.
func (w *waiting) again(ctx context.Context, s *step, err error) error {
	w.tries++
	shift := min(w.tries-1, 6)
	least := 100 * time.Millisecond << shift
	fields := []zap.Field{zap.Int("try", w.tries), zap.Error(err)}
	if s != nil {
		s.mu.Lock()
		fields = append(fields, zap.Duration("took", time.Since(s.begin)), zap.String("waited_for", s.waits))
		s.mu.Unlock()
	}
	w.log.Warn("the migration could not get what it needs, was rolled back and is tried again", fields...)
	return pause(ctx, least/2, least)
}

// sayEvery is how often a wait is told.
const sayEvery = 3 * time.Second

// pause waits for a random time between least and most.
func pause(ctx context.Context, least, most time.Duration) error {
	timer := time.NewTimer(least + rand.N(most-least))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// watch looks at a step that runs: what it waits for, and that it still runs.
func (m *Migrator) watch(ctx context.Context, s *step) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		// A wait for a lock ends with the lock timeout: look often enough to see it.
		next := max(m.opt.lockTimeout/8, 10*time.Millisecond)
		told := time.Now()
		for {
			if pause(ctx, next, next+time.Millisecond) != nil {
				return
			}
			look, done := context.WithTimeout(ctx, cleanup)
			waits := m.rules.watch(look, s)
			done()
			s.mu.Lock()
			if waits != "" {
				s.waits = waits
			}
			s.mu.Unlock()
			if time.Since(told) > sayEvery {
				told = time.Now()
				stmt, _ := s.current()
				m.log.Info("still migrating", file(s), zap.Int("line", stmt.line), zap.Duration("since", time.Since(s.begin)), zap.String("waits_for", waits))
			}
			if time.Since(s.begin) > 2*m.opt.lockTimeout {
				next = min(next*2, sayEvery)
			}
		}
	}()
	return func() {
		cancel()
		<-ended
	}
}

func file(s *step) zap.Field { return zap.String("file", s.mig.file) }
