package fxtest_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

// cutOff is an application whose server lets everyone in, and cuts everyone off who
// sends text.
func cutOff(t *testing.T, mode, text string) (*fxtest.App, *proxy) {
	t.Helper()
	cfg := fxtest.Postgres(t)
	p := newProxy(t, cfg)
	app := fxtest.New(t, fxtest.Use(hosts(cfg, "sslmode=disable&default_query_exec_mode="+mode, p.port)))
	p.onEach(text, loseRequest)
	return app, p
}

// wantCutOff wants the reason in err.
func wantCutOff(t *testing.T, err error) {
	t.Helper()
	if err == nil || contains(err.Error(), "bad connection") || dbfx.ErrorClass(err) != "lost" {
		t.Errorf("got %v (%s), want what ended the connection", err, dbfx.ErrorClass(err))
	}
}

// pings is how many connections the monitor may have cost since start. It asks a database
// that has failed a session once a second, on one of the pool's: a session may join that
// dial, and another one finds the connection idle.
func pings(start time.Time) int { return 2 * (int(time.Since(start)/time.Second) + 1) }

// The modes in which BEGIN goes with the first statement, and by itself.
const (
	ridingMode = "cache_statement"
	plainMode  = "simple_protocol"
)

// TestDial_AFreshConnectionThatFailsGetsOneMoreTry: only a connection that had idled is
// replaced without a word: the next one would end as it did.
func TestDial_AFreshConnectionThatFailsGetsOneMoreTry(t *testing.T) {
	t.Parallel()
	run := func(ctx context.Context, app *fxtest.App) error { return app.Sessions.Run(ctx, touch) }
	view := func(ctx context.Context, app *fxtest.App) error { return app.Sessions.View(ctx, touch) }
	tests := map[string]struct {
		giveMode, giveText string
		give               func(ctx context.Context, app *fxtest.App) error
		want               int // connections that are cut for ten calls, and what the pool had
	}{
		"Run":                   {ridingMode, "begin", run, 10 + 9},
		"Run, BEGIN by itself":  {plainMode, "begin", run, 20 + 9},
		"View":                  {ridingMode, "begin", view, 10 + 9},
		"View, BEGIN by itself": {plainMode, "begin", view, 20 + 9},
		"nested Run": {ridingMode, "begin", func(ctx context.Context, app *fxtest.App) error {
			return app.Sessions.Run(ctx, func(ctx context.Context, _ *dbfx.Session) error { return app.Sessions.Run(ctx, touch) })
		}, 10 + 9},
		"BeginTx": {ridingMode, "begin", beginBare, 10 + 9},
		"Exec": {ridingMode, "select 1", func(ctx context.Context, app *fxtest.App) error {
			_, err := app.DB.ExecContext(ctx, "select 1")
			return err
		}, 10 + 9},
		"Query": {ridingMode, "select 1", func(ctx context.Context, app *fxtest.App) error {
			return app.DB.QueryRowContext(ctx, "select 1").Scan(new(int))
		}, 10 + 9},
		"Prepare": {ridingMode, "select 1", func(ctx context.Context, app *fxtest.App) error {
			_, err := app.DB.PrepareContext(ctx, "select 1")
			return err
		}, 10 + 9},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			app, p := cutOff(t, tt.giveMode, tt.giveText)
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			_ = tt.give(ctx, app) // has the connection of the start
			before, start := p.acted(""), time.Now()
			for range 10 {
				wantCutOff(t, tt.give(ctx, app))
			}
			if n, want := p.acted("")-before, tt.want+pings(start); n > want {
				t.Errorf("%d connections were cut for ten calls, want at most %d", n, want)
			}
		})
	}
}

// TestDial_ManyAtOnceDoNotDialForEver: twenty share their dials, so that each has a
// connection that another one's dial brought. One session had 14.
func TestDial_ManyAtOnceDoNotDialForEver(t *testing.T) {
	t.Parallel()
	const many, rounds = 20, 2
	atOnce := func(work func(i int)) {
		var wg sync.WaitGroup
		for i := range many {
			wg.Go(func() {
				for round := range rounds {
					work(100 + i*rounds + round)
				}
			})
		}
		wg.Wait()
	}
	t.Run("Run", func(t *testing.T) {
		t.Parallel()
		app, p := cutOff(t, ridingMode, "select 1")
		atOnce(func(i int) {
			query, start := fmt.Sprintf("select 1%d", i), time.Now()
			wantCutOff(t, app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
				return tx.QueryRowContext(ctx, query).Scan(new(int))
			}))
			if n, want := p.acted(query), 1+pings(start); n > want {
				t.Errorf("%d connections were cut for one session, want at most %d", n, want)
			}
		})
	})
	t.Run("Run, BEGIN by itself", func(t *testing.T) {
		t.Parallel()
		app, p := cutOff(t, plainMode, "begin")
		start := time.Now()
		atOnce(func(int) { wantCutOff(t, app.Sessions.Run(t.Context(), touch)) })
		if n, want := p.acted(""), 2*many*rounds+10+pings(start); n > want { // and what idled
			t.Errorf("%d connections were cut for %d sessions, want at most %d", n, many*rounds, want)
		}
	})
}
