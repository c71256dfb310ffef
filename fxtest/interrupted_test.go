package fxtest_test

import (
	"context"
	"errors"
	"os"
	"testing"

	"go.uber.org/fx"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

// TestModule_CloseEndsAStartAndWaitsForIt interrupts one in a Starter, as a service
// does whose SIGTERM comes while it migrates.
func TestModule_CloseEndsAStartAndWaitsForIt(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		begun, ended := make(chan struct{}), false
		starter := dbfx.Starter{Name: "work", Run: func(ctx context.Context, _ *dbfx.Database) error {
			close(begun)
			<-ctx.Done()
			ended = true // a race with the test, were Close not to wait
			return ctx.Err()
		}}
		opened, app := databases(fxtest.Use(cfg), fx.Supply(fx.Annotate(starter, fx.ResultTags(`group:"dbfx.starters"`))))
		result := make(chan error, 1)
		go func() { result <- app.Start(context.Background()) }()
		<-begun
		if err := opened()[0].Close(context.Background()); err != nil {
			t.Error(err)
		}
		if !ended {
			t.Error("the start goes on behind Close")
		}
		wantIs(t, <-result, dbfx.ErrClosed)
		wantClosed(t, cfg)
	})
}

// TestModule_CloseEndsAStartThatWaitsForItsServer has a server that says nothing.
func TestModule_CloseEndsAStartThatWaitsForItsServer(t *testing.T) {
	t.Parallel()
	cfg, link := fxtest.Proxy(t, fxtest.Postgres(t))
	link.Down()
	opened, app := databases(fxtest.Use(cfg))
	result := make(chan error, 1)
	go func() { result <- app.Start(context.Background()) }()
	if err := opened()[0].Close(context.Background()); err != nil {
		t.Error(err)
	}
	wantIs(t, <-result, dbfx.ErrClosed) // it may not have begun
}

// TestModule_AStartThatALaterHookLosesCanBeClosed: Fx runs no stop hooks where the
// context of the start has ended.
func TestModule_AStartThatALaterHookLosesCanBeClosed(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		ctx, cancel := context.WithCancel(context.Background())
		opened, app := databases(fxtest.Use(cfg), fx.Invoke(func(lc fx.Lifecycle) {
			lc.Append(fx.StartHook(func() { cancel() }))
		}))
		wantIs(t, app.Start(ctx), context.Canceled)
		for _, db := range opened() {
			if err := db.Close(context.Background()); err != nil {
				t.Error(err)
			}
		}
		wantClosed(t, cfg)
	})
}

// databases is an application of dbfx.Module, and what gives its databases.
func databases(opts ...fx.Option) (func() []*dbfx.Database, *fx.App) {
	var opened []*dbfx.Database
	app := fx.New(fx.NopLogger, dbfx.Module, fx.Options(opts...), fx.Populate(fx.Annotate(&opened, fx.ParamTags(`group:"dbfx.databases"`))))
	return func() []*dbfx.Database { return opened }, app
}

// wantClosed looks for what an open SQLite file has beside it; the server's
// databases are dropped at the end of the test, which sees a connection.
func wantClosed(t *testing.T, cfg dbfx.Config) {
	t.Helper()
	for _, suffix := range []string{"-wal", "-shm"} {
		if _, err := os.Stat(cfg.SQLitePath + suffix); cfg.Dialect() == dbfx.SQLite && !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still there", suffix)
		}
	}
}
