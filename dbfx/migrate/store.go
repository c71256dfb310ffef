package migrate

import (
	"context"
	"fmt"
	"time"

	"github.com/pressly/goose/v3/database"
)

// store writes goose's version table for one attempt. It is goose's own store but
// for what dbfx knows better: whether the version is applied was asked under the
// lock, and the table was made before.
type store struct {
	database.Store
	step *step
}

// TableExists implements database.StoreExtender.
func (s *store) TableExists(context.Context, database.DBTxConn) (bool, error) { return true, nil }

// GetMigration implements database.Store.
func (s *store) GetMigration(context.Context, database.DBTxConn, int64) (*database.GetMigrationResult, error) {
	if s.step.up {
		return nil, database.ErrVersionNotFound
	}
	return &database.GetMigrationResult{IsApplied: true}, nil
}

// Insert implements database.Store. It is the last that goose does before the
// commit, and so where the schema is checked.
func (s *store) Insert(ctx context.Context, db database.DBTxConn, req database.InsertRequest) error {
	return s.end(ctx, db,
		func(ctx context.Context) error { return s.Store.Insert(ctx, db, req) },
		func(ctx context.Context) error { return s.step.m.writeRecord(ctx, db, s.step.mig) })
}

// Delete implements database.Store.
func (s *store) Delete(ctx context.Context, db database.DBTxConn, version int64) error {
	return s.end(ctx, db, func(ctx context.Context) error { return s.Store.Delete(ctx, db, version) }, func(ctx context.Context) error {
		_, err := db.ExecContext(ctx, `delete from `+s.Tablename()+`_files where version_id = $1`, version)
		return err
	})
}

// end makes the writes that end a migration.
func (s *store) end(ctx context.Context, db database.DBTxConn, writes ...func(context.Context) error) error {
	ctx = own(ctx)
	try := func(ctx context.Context, write func(context.Context) error) error { return write(ctx) }
	if s.step.mig.noTx(s.step.up) { // all has run, and stays: a version that is not written would be a lie
		try = s.step.writeDown
		var cancel context.CancelFunc
		ctx, cancel = lingering(ctx, cleanup)
		defer cancel()
	}
	if err := s.step.m.rules.finish(ctx, db, s.step); err != nil {
		return s.step.fail(err)
	}
	for _, write := range writes {
		if err := try(ctx, write); err != nil {
			return s.step.fail(fmt.Errorf("write the version: %w", err))
		}
	}
	return nil
}

// lingering is a context that ends when parent has ended and d has passed.
func lingering(parent context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(parent))
	stop := context.AfterFunc(parent, func() {
		timer := time.AfterFunc(d, cancel)
		context.AfterFunc(ctx, func() { timer.Stop() })
	})
	return ctx, func() {
		stop()
		cancel()
	}
}

// writeRecord writes beside goose's row what that has no column for.
func (m *Migrator) writeRecord(ctx context.Context, db querier, mig *migration) error {
	_, err := db.ExecContext(ctx, `insert into `+m.opt.table+`_files (version_id, file, checksum, applied_at) values ($1, $2, $3, $4)
		on conflict (version_id) do update set file = excluded.file, checksum = excluded.checksum, applied_at = excluded.applied_at,
			statements_done = 0, prefix = ''`,
		mig.version, mig.file, mig.checksum, time.Now().UTC().Format(time.RFC3339Nano))
	return err
}

// ensureTables makes the two tables where they are missing: goose's own, as goose
// makes it, and the one beside it.
func (m *Migrator) ensureTables(ctx context.Context, tx querier) error {
	if _, err := tx.ExecContext(ctx, `create table if not exists `+m.opt.table+`_files (
		version_id bigint primary key,
		file text not null,
		checksum text not null default '',
		applied_at text not null default '',
		statements_done integer not null default 0,
		prefix text not null default ''
	)`); err != nil {
		return err
	}
	s, err := m.gooseStore()
	if err != nil {
		return err
	}
	var tables int
	if err := tx.QueryRowContext(ctx, m.rules.countTables(), m.opt.table).Scan(&tables); err != nil || tables > 0 {
		return err
	}
	if err := s.CreateVersionTable(ctx, tx); err != nil {
		return err
	}
	return s.Insert(ctx, tx, database.InsertRequest{Version: 0})
}

func (m *Migrator) gooseStore() (database.Store, error) {
	return database.NewStore(m.rules.goose(), m.opt.table)
}
