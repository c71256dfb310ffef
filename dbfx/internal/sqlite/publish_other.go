//go:build !linux

package sqlite

import (
	"errors"
	"os"
	"runtime"
)

// renameNoReplace is for file systems without hard links; Go has no rename that
// replaces nothing here.
func renameNoReplace(string, string) error { return errors.ErrUnsupported }

// syncDir puts the names in dir on the disk. Windows does that by itself.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if err := f.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}
