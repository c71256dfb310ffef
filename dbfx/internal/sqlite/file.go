package sqlite

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// prepareFile makes the missing directories, for their owner alone, and the
// missing file with mode. It leaves what exists as it is. SQLite gives -wal and
// -shm the mode of the file.
func prepareFile(setting, path string, mode os.FileMode) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("create directory %s for %s: %w (%s)", dir, setting, reason(err), identity(dir))
	}
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return fmt.Errorf("%s: %s is a directory, want the path of a file", setting, path)
	case err == nil && !info.Mode().IsRegular():
		return fmt.Errorf("%s: %s is not a regular file", setting, path)
	case err == nil:
		return nil // not opened here: closing it again would drop SQLite's POSIX locks
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s: look at %s: %w (%s)", setting, path, reason(err), identity(path))
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, mode)
	if err != nil {
		return fmt.Errorf("%s: create %s: %w (%s)", setting, path, reason(err), identity(path))
	}
	defer func() { _ = f.Close() }()
	if err := f.Chmod(mode); err != nil { // the umask may have taken bits of it
		return fmt.Errorf("%s: set the mode of %s: %w", setting, path, reason(err))
	}
	return nil
}

// reason is err without the path and the call that *fs.PathError adds.
func reason(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// identity says who asks and whose the first existing directory above path is:
// what a person needs to mend a refusal.
func identity(path string) string {
	text := fmt.Sprintf("running as uid %d", os.Getuid())
	for dir := path; ; dir = filepath.Dir(dir) {
		info, err := os.Lstat(dir)
		if err == nil {
			return text + fmt.Sprintf("; %s is %s%s", dir, info.Mode(), owner(info))
		}
		if dir == filepath.Dir(dir) {
			return text
		}
	}
}
