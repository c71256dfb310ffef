package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"modernc.org/libc"
	"modernc.org/sqlite"

	"github.com/sergas/dbkit/dbfx/internal/engine"
)

// rawConn is the driver's connection with all that sql.Conn.Raw may want of it.
type rawConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
	sqlite.HookRegisterer
	sqlite.FileControl
	Serialize() ([]byte, error)
	Deserialize([]byte) error
	NewBackup(dstURI string) (*sqlite.Backup, error)
	NewRestore(srcURI string) (*sqlite.Backup, error)
	ColumnInfo(query string) ([]sqlite.ColumnInfo, error)
	RegisterAuthorizer(sqlite.AuthorizerFn) error
	Status(op sqlite.DBStatusOp, reset bool) (current, high int, err error)
	IsReadOnly(schema string) (bool, error)
}

// realConn is a connection of SQLite's. One connection of database/sql's has it at
// a time, or it lies on its shelf.
type realConn struct {
	raw   rawConn
	shelf *shelf
	db    uintptr // its sqlite3*
	tls   *libc.TLS
	cache *cache
	control
	born int64 // the generation that it was opened in

	holder   *conn         // who has it, nil on the shelf
	results  []*rows       // those that are not closed
	readOnly bool          // query_only is on
	changed  bool          // a statement left something on it that the next user must not meet
	created  bool          // it may have a temporary table
	patience time.Duration // its busy timeout

	commitHook   sqlite.CommitHookFn // the user's, by sql.Conn.Raw
	rollbackHook sqlite.RollbackHookFn

	// For the warning about a WAL that cannot be begun anew, which others read.
	hold atomic.Pointer[engine.Hold] // of the session that has it
	turn atomic.Uint64               // the order in which connections were taken; 0 while it is free

	used bool // since the shelf was last tidied; the shelf's mutex guards it
}

// errReadOnlyFile: SQLite falls back to reading without a word.
var errReadOnlyFile = errors.New("the file cannot be written")

// connect opens a connection that is ready: every pragma set and proven. It starts
// again while the file is locked, until ctx or the busy timeout ends: the change to
// WAL has no busy handler, and of 96 openings of a new file by 8 processes at once
// 6 failed without this.
func (s *shelf) connect(ctx context.Context) (*realConn, error) {
	deadline := time.Now().Add(s.engine.opt.BusyTimeout)
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		r, err := s.connectOnce(ctx)
		if err == nil || primary(err) != codeBusy || time.Now().After(deadline) {
			return r, err
		}
		timer := time.NewTimer(pause/2 + rand.N(pause))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, context.Cause(ctx)
		}
	}
}

func (s *shelf) connectOnce(ctx context.Context) (*realConn, error) {
	if err := s.engine.Prepare(ctx); err != nil {
		return nil, err
	}
	base, err := sqlite.NewConnector(s.engine.dsn())
	if err != nil {
		return nil, err
	}
	born := s.engine.generation.Load() // before the file is opened: Renew may come meanwhile
	opened, err := base.Connect(ctx)
	if err != nil {
		return nil, err
	}
	raw, ok := opened.(rawConn)
	if !ok {
		_ = opened.Close()
		return nil, fmt.Errorf("modernc.org/sqlite: unexpected connection %T", opened)
	}
	r := &realConn{
		raw: raw, shelf: s, db: handle(raw, "db"), tls: libc.NewTLS(), cache: newCache(s.engine.opt.StatementCache), born: born,
		patience: s.engine.opt.BusyTimeout,
	}
	if err := r.ready(ctx); err != nil {
		_ = r.close()
		return nil, err
	}
	return r, nil
}

// ready sets the connection up. The driver runs the DSN's pragmas without a
// deadline: a ping of 100 ms took two seconds against a locked file. These run
// under ctx.
func (r *realConn) ready(ctx context.Context) error {
	if r.db == 0 {
		return errDriver
	}
	if readOnly, err := r.raw.IsReadOnly("main"); err == nil && readOnly {
		return errReadOnlyFile
	}
	if r.shelf.engine.begins() {
		_ = r.run("pragma synchronous = off")
	}
	for _, p := range r.shelf.pragmas {
		if err := r.apply(ctx, p); err != nil {
			return err
		}
	}
	r.readOnly = r.shelf.readOnly
	r.raw.RegisterRollbackHook(r.rolledBack)
	r.raw.RegisterCommitHook(r.committing)
	return nil
}

// rolledBack is the rollback hook: SQLite ended a transaction.
func (r *realConn) rolledBack() {
	if r.holder != nil {
		r.holder.state.rolledBack()
	}
	if r.rollbackHook != nil {
		r.rollbackHook()
	}
}

// committing is the commit hook; 1 makes the commit a rollback.
func (r *realConn) committing() int32 {
	if r.holder != nil && r.holder.state.committing() {
		return 1
	}
	if r.commitHook != nil {
		return r.commitHook()
	}
	return 0
}

// apply runs one pragma and reads it back: SQLite answers neither an unknown
// name nor a bad value with an error.
func (r *realConn) apply(ctx context.Context, p Pragma) error {
	if _, err := r.raw.ExecContext(ctx, "pragma "+p.Name+" = "+p.Value, nil); err != nil {
		return fmt.Errorf("pragma %s: %w", p.Name, err)
	}
	got, err := r.ask(ctx, "pragma "+p.Name)
	if err != nil {
		return fmt.Errorf("pragma %s: %w", p.Name, err)
	}
	if got != p.Want {
		return fmt.Errorf("pragma %s: want %s, SQLite answers %q", p.Name, p.Want, got)
	}
	return nil
}

// ask returns the first value of the first row of query, "" where there is none.
func (r *realConn) ask(ctx context.Context, query string) (string, error) {
	row, err := r.askRow(ctx, query)
	if err != nil || len(row) == 0 {
		return "", err
	}
	return fmt.Sprint(row[0]), nil
}

// askRow returns the first row of query, nil where there is none.
func (r *realConn) askRow(ctx context.Context, query string) ([]driver.Value, error) {
	rows, err := r.raw.QueryContext(ctx, query, nil)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	row := make([]driver.Value, len(rows.Columns()))
	if err := rows.Next(row); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	return row, nil
}

// run runs a statement of our own that nothing stops.
func (r *realConn) run(query string) error {
	_, err := r.raw.ExecContext(context.Background(), query, nil)
	return err
}

// setReadOnly makes the connection refuse writes, or take them again.
func (r *realConn) setReadOnly(on bool) error {
	if r.readOnly == on {
		return nil
	}
	value := "0"
	if on {
		value = "1"
	}
	err := r.run("pragma query_only = " + value)
	if err == nil {
		r.readOnly = on
	}
	return err
}

// writing reports whether a result is open that writes as its rows are read.
func (r *realConn) writing() bool {
	return slices.ContainsFunc(r.results, func(rows *rows) bool { return rows.call.plan.need == needWrite })
}

// clean makes the connection one that the next user can have, and reports whether
// it is: no result open, no transaction, nothing that a statement has left. The
// driver gives up a connection whose last statement was interrupted, which costs
// the next one 5 to 8 ms; the mark goes with the next statement.
func (r *realConn) clean() bool {
	for len(r.results) > 0 {
		_ = r.results[0].Close() // takes itself off the list
	}
	if !r.autocommit() {
		_ = r.run("rollback")
		if !r.autocommit() {
			return false
		}
	}
	if r.created {
		r.created = false
		if left, err := r.ask(context.Background(), "select count(*) from temp.sqlite_schema"); err != nil || left != "0" {
			r.changed = true
		}
	}
	if r.changed && !r.scrub() {
		return false
	}
	if r.setReadOnly(r.shelf.readOnly) != nil {
		return false
	}
	if !r.raw.IsValid() {
		_ = r.run("select 1")
	}
	return r.raw.IsValid()
}

// close ends the connection.
func (r *realConn) close() error {
	r.cache.close()
	r.control.close()
	err := r.raw.Close()
	r.tls.Close()
	return err
}
