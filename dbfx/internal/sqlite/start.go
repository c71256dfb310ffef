package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
)

// This file is the way from a path to a database that works: its URI, the file, the
// first look at it, and what is wrong where that fails.

// dsn is a file: URI, the only form that is right for names with ?, # and %41.
// mode=rw: a database that vanished after the start is an error, not a new and
// empty one.
func (e *Engine) dsn() string {
	const driver = "_txlock=immediate&_time_format=sqlite&_timezone=UTC&_error_rc=1" // times: see bind
	if e.opt.Memory {
		return ":memory:?" + driver
	}
	return (&url.URL{Scheme: "file", Path: filepath.ToSlash(e.path), RawQuery: "mode=rw&" + driver}).String()
}

// Prepare implements engine.Engine: it makes the directory and the file, once.
// The first connection does so too: a constructor may query before the start.
func (e *Engine) Prepare(context.Context) error {
	if e.err != nil {
		return fmt.Errorf("%s: %w", e.opt.Setting, e.err)
	}
	e.prepare.Lock()
	defer e.prepare.Unlock()
	if e.opt.Memory || e.prepared {
		return nil
	}
	if err := prepareFile(e.opt.Setting, e.path, e.opt.FileMode); err != nil {
		return err
	}
	e.notes = lookAtFile(e.path)
	e.prepared = true
	return nil
}

// begins reports whether the file is empty and its first page need not be synced:
// the change to WAL syncs four times what holds nothing, a half of Open's time. With
// synchronous=normal a power loss may take what no checkpoint has synced anyway.
func (e *Engine) begins() bool {
	normal := slices.ContainsFunc(e.opt.Pragmas, func(p Pragma) bool { return p.Name == "synchronous" && p.Value == "normal" })
	info, err := os.Stat(e.path)
	return !e.opt.Memory && normal && err == nil && info.Size() == 0
}

// Verify implements engine.Engine. A ping alone does not read the file.
func (e *Engine) Verify(ctx context.Context, db *sql.DB) ([]string, error) {
	var n int
	if err := db.QueryRowContext(ctx, "select count(*) from sqlite_schema").Scan(&n); err != nil {
		return nil, err
	}
	// 0x10002 analyses only tables that have no statistics yet: 53 ms once on
	// 101 MB, then 22 µs. It is a help, so its error is no reason not to start.
	_, _ = db.ExecContext(ctx, "pragma optimize = 0x10002")
	return e.notes, nil
}

// Finish implements engine.Engine. The close checkpoints by itself.
func (e *Engine) Finish(ctx context.Context, db *sql.DB) error {
	if e.opt.Memory {
		return nil
	}
	_, err := db.ExecContext(ctx, "pragma optimize")
	return err
}

// StartError implements engine.Engine.
func (e *Engine) StartError(err error) (error, bool) {
	switch primary(err) {
	case 0:
		if errors.Is(err, errReadOnlyFile) {
			return fmt.Errorf("%s: open %s: %w (%s)", e.opt.Setting, e.Where(), err, identity(e.path)), false
		}
		if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
			return fmt.Errorf("%s: %s did not open in time; another process may have it locked: %w", e.opt.Setting, e.Where(), err), false
		}
		return err, false
	case codeNotADB:
		return fmt.Errorf("%s: %s is not a SQLite database: %w", e.opt.Setting, e.Where(), err), false
	case codeCorrupt:
		return fmt.Errorf("%s: %s is damaged: %w", e.opt.Setting, e.Where(), err), false
	case codeBusy:
		return fmt.Errorf("%s: %s is locked by another process: %w", e.opt.Setting, e.Where(), err), true
	case codeReadOnly:
		return fmt.Errorf("%s: %s or its directory cannot be written (%s): %w", e.opt.Setting, e.Where(), identity(e.path), err), false
	}
	return fmt.Errorf("%s: open %s (%s): %w", e.opt.Setting, e.Where(), identity(e.path), err), false
}
