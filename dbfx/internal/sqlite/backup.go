package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"modernc.org/sqlite"
)

// backupPages is how many pages are copied between two looks at ctx: 4 MiB of
// the usual size.
const backupPages = 1024

// Backup implements engine.Engine. conn is in a transaction, so the copy is
// of one moment and writers do not make it start again. It appears at path when
// it is whole.
func (e *Engine) Backup(ctx context.Context, conn any, path string, progress func(done, total int)) (err error) {
	source, ok := conn.(rawConn)
	if !ok {
		return fmt.Errorf("unexpected connection %T", conn)
	}
	path, err = filepath.Abs(path)
	if err != nil {
		return err
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s exists; a backup does not write over a file", path)
	}
	partial := path + ".partial"
	_ = os.Remove(partial) // of a backup that was killed
	if err := prepareFile("backup", partial, e.opt.FileMode); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(partial)
		}
	}()
	if err := takeSnapshot(ctx, source); err != nil {
		return err
	}
	backup, err := source.NewBackup((&url.URL{Scheme: "file", Path: filepath.ToSlash(partial), RawQuery: "mode=rw"}).String())
	if err != nil {
		return err
	}
	err = copyPages(ctx, backup, progress)
	if finishErr := backup.Finish(); err == nil {
		err = finishErr
	}
	if err != nil {
		return err
	}
	if err := syncFile(partial); err != nil {
		return err
	}
	return os.Rename(partial, path)
}

// takeSnapshot makes the open transaction read: BEGIN alone does not.
func takeSnapshot(ctx context.Context, source rawConn) error {
	rows, err := source.QueryContext(ctx, "select count(*) from sqlite_schema", nil)
	if err != nil {
		return err
	}
	return rows.Close()
}

func copyPages(ctx context.Context, backup *sqlite.Backup, progress func(done, total int)) error {
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		more, err := backup.Step(backupPages)
		if err != nil {
			return err
		}
		if progress != nil {
			total := backup.PageCount()
			progress(total-backup.Remaining(), total)
		}
		if !more {
			return nil
		}
	}
}

func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	err = f.Sync()
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return err
}
