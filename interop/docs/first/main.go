package main

import (
	"context"

	"github.com/sergas/dbkit/dbfx"
	"go.uber.org/fx"
	"go.uber.org/zap"
)

func main() {
	fx.New(
		dbfx.Module, // Config, *sql.DB, *Sessions, *Health, *Schema
		fx.Provide(zap.NewProduction),
		fx.Invoke(func(lc fx.Lifecycle, s *dbfx.Sessions) {
			lc.Append(fx.StartHook(func(ctx context.Context) error {
				return s.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
					_, err := tx.ExecContext(ctx, `create table if not exists notes (text text)`)
					return err
				})
			}))
		}),
	).Run()
}
