package dbfx

import (
	"os"
	"path/filepath"

	"github.com/sergas/dbkit/dbfx/internal/dburl"
)

// File returns the absolute path of the SQLite file, as goose's CLI and sqlite3
// take it. A relative path is relative to the working directory at the time when
// DefaultConfig, LoadConfig or Open made the Config: a later Chdir moves nothing.
// It is empty for a database in memory, for PostgreSQL, and for a
// Config that Validate refuses.
func (c Config) File() string {
	loc, err := c.location()
	if err != nil || loc.Dialect != dburl.SQLite || loc.Path == dburl.Memory {
		return ""
	}
	if filepath.IsAbs(loc.Path) {
		return filepath.Clean(loc.Path)
	}
	dir := c.dir
	if dir == "" {
		dir = workingDir()
	}
	return filepath.Join(dir, loc.Path)
}

// workingDir is "" where the working directory is gone; a relative path stays so
// then.
func workingDir() string {
	dir, err := os.Getwd()
	if err != nil {
		return ""
	}
	return dir
}
