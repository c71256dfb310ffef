package main

import (
	"testing"

	"github.com/sergas/dbkit/dbfx/migrate/migratetest"
)

func TestMigrations(t *testing.T) { migratetest.Lint(t, migrations) }
