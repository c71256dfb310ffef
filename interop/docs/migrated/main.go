// Command migrated is what docs/migrations.md shows.
package main

import (
	"embed"

	"go.uber.org/fx"
	"go.uber.org/zap"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/dbfx/migrate"
)

//go:embed migrations/*.sql
var migrations embed.FS

func main() {
	fx.New(dbfx.Module, migrate.Module(migrations), app).Run()
}

var app = fx.Provide(zap.NewProduction) // the service; without a *zap.Logger dbfx says nothing
