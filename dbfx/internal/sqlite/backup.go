package sqlite

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// backupPages is how many pages are copied between two looks at ctx: 4 MiB of
// the usual size.
const backupPages = 1024

// Backup implements engine.Engine. conn is in a transaction, so the copy is
// of one moment and writers do not make it start again.
//
// The copy is written under a name that no other backup has, and appears at path
// when it is whole and on the disk. Only files that this call has made are ever
// removed, and none is replaced.
func (e *Engine) Backup(ctx context.Context, conn any, path string, progress func(done, total int)) error {
	source, ok := unwrap(conn).(rawConn)
	if !ok {
		return fmt.Errorf("unexpected connection %T", conn)
	}
	c, err := newCopy(path, e.opt.FileMode)
	if err != nil {
		return err
	}
	defer c.remove() // also after a panic of progress
	if err := takeSnapshot(ctx, source); err != nil {
		return err
	}
	if err := copyTo(ctx, source, c.partial, progress); err != nil {
		return err
	}
	return c.publish()
}

// takeSnapshot makes the open transaction read: BEGIN alone does not.
func takeSnapshot(ctx context.Context, source rawConn) error {
	rows, err := source.QueryContext(ctx, "select count(*) from sqlite_schema", nil)
	if err != nil {
		return err
	}
	return rows.Close()
}

// copyTo copies every page of source into the empty file.
func copyTo(ctx context.Context, source rawConn, file string, progress func(done, total int)) (err error) {
	backup, err := source.NewBackup((&url.URL{Scheme: "file", Path: filepath.ToSlash(file), RawQuery: "mode=rw"}).String())
	if err != nil {
		return err
	}
	defer func() {
		if finishErr := backup.Finish(); err == nil {
			err = finishErr
		}
	}()
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

// backupCopy is a copy on its way to path.
type backupCopy struct {
	path    string
	partial string // in path's directory; this call made it
	kept    string // the deepest directory that was there before
}

// newCopy makes the file that the copy is written to.
func newCopy(path string, mode os.FileMode) (*backupCopy, error) {
	if path == "" || strings.HasSuffix(path, "/") {
		return nil, fmt.Errorf("want the path of a new file, got %q", path)
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	c := &backupCopy{path: path}
	if err := c.checkFree(); err != nil {
		return nil, err
	}
	dir := filepath.Dir(path)
	c.kept = existing(dir)
	// The name is short, as path's may be as long as a name can be.
	partial := filepath.Join(dir, ".dbfx-backup-"+rand.Text())
	if err := prepareFile("backup", partial, mode); err != nil {
		return nil, err
	}
	c.partial = partial
	return c, nil
}

// checkFree refuses a path that is taken. A log or a journal beside it counts:
// SQLite would apply it to the copy as soon as somebody opens that.
func (c *backupCopy) checkFree() error {
	for _, suffix := range []string{"", "-wal", "-journal"} {
		_, err := os.Lstat(c.path + suffix)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return fmt.Errorf("look at %s: %w", c.path+suffix, reason(err))
		case suffix != "":
			return fmt.Errorf("%s: %w: SQLite would apply it to the copy", c.path+suffix, fs.ErrExist)
		default:
			return c.taken()
		}
	}
	return nil
}

func (c *backupCopy) taken() error {
	return fmt.Errorf("%s: %w: a backup replaces no file", c.path, fs.ErrExist)
}

// publish gives the whole copy its name.
func (c *backupCopy) publish() error {
	if err := syncFile(c.partial); err != nil {
		return err
	}
	if err := c.checkFree(); err != nil {
		return err
	}
	if err := publishFile(c.partial, c.path); errors.Is(err, fs.ErrExist) {
		return c.taken()
	} else if err != nil {
		return fmt.Errorf("name the copy %s: %w", c.path, reason(err))
	}
	c.remove()
	for dir := filepath.Dir(c.path); ; dir = filepath.Dir(dir) {
		if err := syncDir(dir); err != nil {
			return fmt.Errorf("the copy is whole at %s, but a power loss may take it: %w", c.path, err)
		}
		if dir == c.kept || dir == filepath.Dir(dir) {
			return nil
		}
	}
}

// remove takes away what the copy was written to, and SQLite's files beside it.
func (c *backupCopy) remove() {
	for _, suffix := range []string{"", "-journal", "-wal", "-shm"} {
		_ = os.Remove(c.partial + suffix)
	}
}

// publishFile gives the file from the name to, unless something has that name.
//
// A hard link cannot replace anything. Over NFS its answer may be lost and the
// link be there: so the two files are compared before it counts as taken. Where
// there are no links (FAT, some of FUSE), Linux can rename without replacing.
func publishFile(from, to string) error {
	err := os.Link(from, to)
	if err == nil {
		return nil
	}
	if errors.Is(err, fs.ErrExist) {
		if sameFile(from, to) {
			return nil
		}
		return err
	}
	if renameErr := renameNoReplace(from, to); !errors.Is(renameErr, errors.ErrUnsupported) {
		return renameErr
	}
	return err
}

func sameFile(a, b string) bool {
	first, err := os.Lstat(a)
	if err != nil {
		return false
	}
	second, err := os.Lstat(b)
	return err == nil && os.SameFile(first, second)
}

// existing returns the deepest directory of path that is there.
func existing(path string) string {
	for {
		if _, err := os.Stat(path); err == nil || path == filepath.Dir(path) {
			return path
		}
		path = filepath.Dir(path)
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
