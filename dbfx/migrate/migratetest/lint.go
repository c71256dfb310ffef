// Package migratetest looks at migrations in a test:
//
//	func TestMigrations(t *testing.T) { migratetest.Lint(t, migrations) }
package migratetest

import (
	"io/fs"
	"testing"

	"github.com/sergas/dbkit/dbfx/migrate"
)

// Lint fails the test for each mistake that [migrate.Lint] finds and no comment
// in the file waives.
func Lint(tb testing.TB, fsys fs.FS, opts ...migrate.LintOption) {
	tb.Helper()
	findings, err := migrate.Lint(fsys, opts...)
	if err != nil {
		tb.Error(err)
	}
	for _, f := range findings {
		tb.Error(f)
	}
}
