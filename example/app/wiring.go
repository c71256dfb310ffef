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
	"github.com/sergas/dbkit/example/app/outbox"
	"github.com/sergas/dbkit/example/app/store"
	"github.com/sergas/dbkit/example/app/tokens"
	"github.com/sergas/dbkit/example/app/web"
)

//go:embed schema
var schema embed.FS

// audit names the second database.
const audit = "audit"

// stopTimeout is shared by the HTTP server, the relay and the databases; keep it
// below the orchestrator's own, which is 30 seconds in Kubernetes.
const stopTimeout = 25 * time.Second

// module is the service without its server and its logger, as the tests start it.
// Hooks run in the order of this list and stop in reverse: the server takes no
// more requests, then the relay ends, then the databases close.
var module = fx.Module("app",
	dbfx.Module,
	dbfx.Named(audit),
	fx.Provide(
		store.NewTokens,
		store.NewOutbox,
		fx.Annotate(store.NewAudit, fx.ParamTags(`name:"audit"`)),
		func(lc fx.Lifecycle, from *store.Outbox, to *store.Audit, log *zap.Logger) *outbox.Relay {
			return outbox.NewRelay(lc, from, to, log)
		},
		func(s *dbfx.Sessions, kept *store.Tokens, relay *outbox.Relay) *tokens.Service {
			return tokens.NewService(s, kept, relay.Wake)
		},
		func(s *tokens.Service, trail *store.Audit, health *dbfx.Health, log *zap.Logger) *web.Handler {
			return web.NewHandler(s, trail, health, log)
		},
		fx.Annotate(newSQLLog, fx.As(new(dbfx.Observer)), fx.ResultTags(`group:"dbfx.observers"`)),
	),
	fx.Invoke(initSchemas),
	fx.Invoke(func(*outbox.Relay) {}),
)

// serving is the server, which comes last.
var serving = fx.Options(
	fx.Provide(web.NewServer),
	fx.Invoke(func(*web.Server) {}),
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
		serving,
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

// schemas are what initSchemas works on.
type schemas struct {
	fx.In
	Tokens *dbfx.Schema
	Audit  *dbfx.Schema `name:"audit"`
}

// initSchemas makes the tables after the databases have started and before the
// relay and the server do: hooks run in the order in which they are appended.
func initSchemas(lc fx.Lifecycle, s schemas) error {
	for _, database := range []struct {
		folder string
		schema *dbfx.Schema
	}{{"schema/tokens", s.Tokens}, {"schema/audit", s.Audit}} {
		files, err := fs.Sub(schema, database.folder)
		if err != nil {
			return err
		}
		lc.Append(fx.StartHook(func(ctx context.Context) error { return database.schema.Init(ctx, files, dbfx.InProduction()) }))
	}
	return nil
}
