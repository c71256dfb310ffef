package dbfx

import (
	"path/filepath"

	"github.com/sergas/dbkit/dbfx/internal/dburl"
)

// File returns the absolute path of the SQLite file, as goose's CLI and sqlite3
// take it. It is empty for a database in memory, for PostgreSQL, and for a
// Config that Validate refuses.
func (c Config) File() string {
	loc, err := c.location()
	if err != nil || loc.Dialect != dburl.SQLite || loc.Path == dburl.Memory {
		return ""
	}
	path, err := filepath.Abs(loc.Path)
	if err != nil {
		return ""
	}
	return path
}
