package main

import (
	"context"
	"embed"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os/signal"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/fx"
	"go.uber.org/fx/fxevent"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/dbfx/metrics"
	"github.com/sergas/dbkit/dbfx/migrate"
	"github.com/sergas/dbkit/dbfx/status"
	"github.com/sergas/dbkit/dbfx/tracing"
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
// The migrations are part of the databases' own start. Hooks run in the order of
// this list and stop in reverse: the server takes no more requests, then the relay
// ends, then the databases close.
func module() fx.Option {
	return fx.Module("app",
		dbfx.Module,
		dbfx.Named(audit),
		migrate.Module(files("")),
		migrate.Module(files(audit), migrate.ForDatabase(audit)),
		metrics.Module,
		tracing.Module,
		status.Module,
		fx.Supply(status.Options{Title: "Tokens", Authorize: fromThisMachine}),
		fx.Provide(
			newTracers,
			fx.Annotate(prometheus.NewRegistry, fx.As(fx.Self()), fx.As(new(prometheus.Registerer))),
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
		fx.Invoke(func(*outbox.Relay) {}),
	)
}

// serving are the servers, which come last. The operators' stops after the
// clients': what a stop waits for is seen there.
var serving = fx.Options(
	fx.Provide(web.NewAdmin, web.NewServer),
	fx.Invoke(func(*web.Admin, *web.Server) {}),
)

func serve(cfg dbfx.Config, stderr io.Writer) int {
	log, err := newLog(cfg)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return exitFailure
	}
	defer func() { _ = log.Sync() }() // a terminal cannot be synced
	var opened []*dbfx.Database
	app := fx.New(
		module(),
		serving,
		fx.Populate(fx.Annotate(&opened, fx.ParamTags(`group:"dbfx.databases"`))),
		fx.Supply(log),
		fx.WithLogger(func() fxevent.Logger {
			events := &fxevent.ZapLogger{Logger: log}
			events.UseLogLevel(zapcore.DebugLevel) // errors stay errors
			return events
		}),
		fx.StopTimeout(stopTimeout),
	)
	return untilSignal(app, opened)
}

// untilSignal runs app as its Run does, and listens for signals before the start:
// Run does after it, so that a SIGTERM that comes as soon as the service answers
// would kill it with its requests. One during the start ends that, and then the
// databases are closed here: Fx stops nothing once the context of a start has ended.
func untilSignal(app *fx.App, opened []*dbfx.Database) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	starting, cancel := context.WithTimeout(ctx, app.StartTimeout())
	defer cancel()
	if err := app.Start(starting); err != nil {
		stop() // a second signal ends the program at once
		stopping, cancel := context.WithTimeout(context.Background(), app.StopTimeout())
		defer cancel()
		for _, db := range opened {
			_ = db.Close(stopping) // it logs what is wrong
		}
		return exitFailure
	}
	code := 0
	select {
	case <-ctx.Done():
	case shutdown := <-app.Wait():
		code = shutdown.ExitCode
	}
	stop() // a second signal ends the program at once
	stopping, cancel := context.WithTimeout(context.Background(), app.StopTimeout())
	defer cancel()
	if err := app.Stop(stopping); err != nil {
		return exitFailure
	}
	return code
}

// fromThisMachine keeps the status page, which shows SQL, from other machines also
// where HTTP_ADMIN_ADDR is open for the metrics: look at it through a tunnel, such as
// kubectl port-forward.
func fromThisMachine(_ http.ResponseWriter, r *http.Request) bool {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	return err == nil && net.ParseIP(host).IsLoopback()
}

// files are the migrations of a database.
func files(name string) fs.FS {
	sub, err := fs.Sub(schema, "schema/"+title(name))
	if err != nil {
		panic(err) // only a name that is no path
	}
	return sub
}
