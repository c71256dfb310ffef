package migrate

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"hash"
	"strings"
	"sync"
	"time"

	"github.com/pressly/goose/v3"

	"github.com/sergas/dbkit/dbfx/internal/postgres"
)

// step is one attempt at one migration in one direction.
type step struct {
	m     *Migrator
	mig   *migration
	up    bool
	begin time.Time

	done    int  // statements that an earlier run without a transaction has finished
	resumes bool // such a run was broken off, in the statement after those
	hash    hash.Hash
	hashed  int // statements in it

	locked bool      // PostgreSQL's session lock is ours
	unlock func()    // gives SQLite's lock file back
	fkOff  bool      // SQLite's foreign keys are off
	before *snapshot // what SQLite's schema and foreign keys were like

	mu      sync.Mutex
	at      int   // the statement that runs, counted from 1
	pid     int64 // of PostgreSQL's backend
	waits   string
	failure error // the first, as the database gave it
}

// run runs the migration. One without a transaction is looked at afterwards, when
// its connection is back: the pool may have no other.
func (s *step) run(ctx context.Context, db *sql.DB) error {
	bare := s.mig.noTx(s.up)
	if bare && s.mig.code != nil && db.Stats().MaxOpenConnections == 1 {
		return s.explain(errors.New("it needs a second connection, and the pool has one"), statement{}, "")
	}
	err := s.onConn(ctx, db)
	if err == nil && bare {
		err = s.mustStay(ctx, db)
	}
	return err
}

// onConn runs the migration through goose on a connection of its own.
func (s *step) onConn(ctx context.Context, db *sql.DB) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if err := s.m.rules.before(ctx, conn, s); err != nil {
		return errors.Join(err, s.restore(ctx, conn))
	}
	stop := s.m.watch(ctx, s)
	err = conn.Raw(func(driverConn any) error {
		raw, err := newLink(driverConn)
		if err != nil {
			return err
		}
		return s.goose(ctx, raw, db)
	})
	stop()
	if restored := s.restore(ctx, conn); restored != nil && err == nil {
		s.m.log.Warn("the connection of a migration is not used again: " + restored.Error())
	}
	return err
}

// goose has the Provider apply the version. Its errors name the version alone;
// ours were kept as they came by.
func (s *step) goose(ctx context.Context, raw link, pool *sql.DB) error {
	base, err := s.m.gooseStore()
	if err != nil {
		return err
	}
	db := sql.OpenDB(&bridge{s, raw})
	defer func() { _ = db.Close() }()
	options := []goose.ProviderOption{goose.WithStore(&store{base, s})}
	if s.mig.code != nil {
		options = append(options, goose.WithGoMigrations(s.mig.code.goose(pool)))
	}
	provider, err := goose.NewProvider(goose.DialectCustom, db, onlyFile{s.mig.file, s.mig.text}, append(options,
		goose.WithDisableGlobalRegistry(true),
		goose.WithLogger(goose.NopLogger()))...)
	if err != nil {
		return err
	}
	_, err = provider.ApplyVersion(ctx, s.mig.version, s.up)
	if err == nil {
		return nil
	}
	if s.failure != nil {
		return s.explain(s.failure, statement{}, "")
	}
	if partial := (*goose.PartialError)(nil); errors.As(err, &partial) {
		err = partial.Err
	}
	return s.explain(err, statement{}, "")
}

// restore gives the connection back as it was, or makes the pool close it.
func (s *step) restore(ctx context.Context, conn *sql.Conn) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanup)
	defer cancel()
	err := s.m.rules.after(ctx, conn, s)
	if err != nil {
		_ = conn.Raw(func(any) error { return driver.ErrBadConn })
	}
	return err
}

// cleanup bounds what undoes the preparation of a connection.
const cleanup = 5 * time.Second

// exec runs a statement that goose sends: the next one of the file.
func (s *step) exec(ctx context.Context, raw link, query string, run func() (driver.Result, error)) (driver.Result, error) {
	if s.mig.code != nil {
		if err := s.m.rules.refuse(query, s); err != nil {
			return nil, s.fail(err)
		}
		return run()
	}
	s.mu.Lock()
	s.at++
	s.mu.Unlock()
	stmt, _ := s.current()
	if s.at <= s.done {
		return driver.RowsAffected(0), nil
	}
	done, err := s.m.rules.statement(ctx, raw, s)
	if err != nil {
		return nil, s.fail(s.explain(err, stmt, query))
	}
	if done {
		return driver.RowsAffected(0), nil
	}
	result, err := run()
	if err != nil {
		return nil, s.fail(s.explain(err, stmt, query))
	}
	return result, nil
}

// prepared looks at a statement that comes another way, which only a Go migration
// can send.
func (s *step) prepared(query string) error {
	if s.mig.code == nil {
		return nil
	}
	return s.m.rules.refuse(query, s)
}

// current is the statement that runs. Its text is the file's: what goose runs may
// have environment variables in it.
func (s *step) current() (statement, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.mig.statements(s.up)
	if s.at < 1 || s.at > len(list) {
		return statement{}, false
	}
	return list[s.at-1], true
}

// fail keeps the first error.
func (s *step) fail(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failure == nil {
		s.failure = err
	}
	return err
}

// explain adds the file, the line, the statement and the code to an error.
func (s *step) explain(err error, stmt statement, sent string) error {
	if errors.Is(err, errLocked) || errors.Is(err, errDone) {
		return err
	}
	if already := (*Error)(nil); errors.As(err, &already) {
		return err
	}
	e := &Error{File: s.mig.file, Line: stmt.line, Statement: stmt.short(), Code: codeOf(err), Up: s.up, Err: err}
	if stmt.isCut() {
		e.Err = fmt.Errorf("%w; %w", err, errCut)
	}
	if at := postgres.Position(err); at > 0 && stmt.line > 0 && sent != "" {
		e.Line += strings.Count(string([]rune(sent)[:min(at-1, len([]rune(sent)))]), "\n")
	}
	return e
}
