package main

import (
	"context"
	"embed"
	"fmt"
	"io"
	"io/fs"
	"time"

	"go.uber.org/fx"
	"go.uber.org/fx/fxevent"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/sergas/dbkit/dbfx"
)

//go:embed schema/*.sql
var schema embed.FS

// stopTimeout is shared by the HTTP server and the database; keep it below the
// orchestrator's own, which is 30 seconds in Kubernetes.
const stopTimeout = 25 * time.Second

// module is the service without its logger; the tests start it too.
var module = fx.Module("app",
	dbfx.Module,
	fx.Provide(newStore, newHandler, newServer),
	fx.Invoke(initSchema),
	fx.Invoke(func(*server) {}),
)

func serve(stderr io.Writer) int {
	log, err := zap.NewProduction(zap.AddStacktrace(zapcore.DPanicLevel))
	if err != nil {
		fmt.Fprintln(stderr, err)
		return exitFailure
	}
	defer func() { _ = log.Sync() }() // a terminal cannot be synced
	app := fx.New(
		module,
		fx.Supply(log),
		fx.WithLogger(func() fxevent.Logger {
			events := &fxevent.ZapLogger{Logger: log}
			events.UseLogLevel(zapcore.DebugLevel) // errors stay errors
			return events
		}),
		fx.StopTimeout(stopTimeout),
	)
	app.Run() // exits with 1 by itself when the start or the stop fails
	return 0
}

// initSchema makes the tables after the database has started and before the
// server does: hooks run in the order in which they are appended.
func initSchema(lc fx.Lifecycle, schemaOf *dbfx.Schema) error {
	files, err := fs.Sub(schema, "schema")
	if err != nil {
		return err
	}
	lc.Append(fx.StartHook(func(ctx context.Context) error { return schemaOf.Init(ctx, files, dbfx.InProduction()) }))
	return nil
}
