package fxtest_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/fx"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

// listed takes the databases of the graph.
func listed(to *[]*dbfx.Database) fx.Option {
	return fx.Populate(fx.Annotate(to, fx.ParamTags(`group:"dbfx.databases"`)))
}

// lines are those of the log about one kind of event.
func lines(logs *observer.ObservedLogs, kind dbfx.EventKind) []observer.LoggedEntry {
	return logs.FilterField(zap.String("event", string(kind))).All()
}

func TestEvents_AFullPoolIsToldOnceWithItsHolder(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		supply, logs := logger()
		app := fxtest.New(t, fxtest.Use(one(cfg)), supply)
		release := occupy(t, app, "greedy")
		for range 5 {
			go func() {
				for t.Context().Err() == nil && len(lines(logs, dbfx.EventRelieved)) == 0 {
					_ = app.Sessions.Run(t.Context(), func(context.Context, *dbfx.Session) error { return nil }, dbfx.Name("waiter"))
				}
			}()
		}
		eventually(t, "the log says that the pool is full", func() bool { return len(lines(logs, dbfx.EventSaturated)) > 0 })
		eventually(t, "more sessions time out", func() bool { return app.Sessions.Stats().Timeouts > 10 })
		eventually(t, "health says so too", func() bool { return app.Health.Check(t.Context()).Status != dbfx.Pass }) // it may know an older answer
		release()
		eventually(t, "the log says that it is over", func() bool { return len(lines(logs, dbfx.EventRelieved)) > 0 })
		if got := lines(logs, dbfx.EventSaturated); len(got) != 1 || got[0].ContextMap()["session"] != "greedy" ||
			got[0].ContextMap()["database"] != "default" || !strings.Contains(got[0].ContextMap()["caller"].(string), "stats_test.go:") {
			t.Errorf("got %v", got)
		}
		if got := lines(logs, dbfx.EventRelieved); len(got) != 1 || got[0].ContextMap()["duration"] == nil {
			t.Errorf("got %v", got)
		}
	})
}

func TestEvents_SlowOnesAreToldWithoutTheirValues(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		supply, logs := logger()
		cfg.SQLSlowThreshold = time.Nanosecond
		var databases []*dbfx.Database
		app := fxtest.New(t, fxtest.Use(cfg), supply, listed(&databases))
		for range 20 {
			err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
				var text string
				return tx.QueryRowContext(ctx, "select 'hunter2' || cast($1 as text)", "hunter2").Scan(&text)
			}, dbfx.Name("slow one"))
			if err != nil {
				t.Fatal(err)
			}
		}
		sessions, statements := lines(logs, dbfx.EventSlowSession), lines(logs, dbfx.EventSlowStatement)
		if len(sessions) != 1 || sessions[0].ContextMap()["session"] != "slow one" || sessions[0].ContextMap()["attempts"] != int64(1) {
			t.Errorf("got %v, want one line for twenty", sessions)
		}
		found := false
		for _, line := range statements {
			found = found || line.ContextMap()["statement"] == "select ? || cast(? as text)" && line.ContextMap()["session"] == "slow one"
		}
		if !found {
			t.Errorf("got %v", statements)
		}
		for _, line := range logs.All() {
			for key, value := range line.ContextMap() {
				if text, ok := value.(string); ok && strings.Contains(text, "hunter2") {
					t.Errorf("%s: %s=%s", line.Message, key, text)
				}
			}
		}
		events := databases[0].Events()
		if !slices.ContainsFunc(events, func(e dbfx.Event) bool { return e.Kind == dbfx.EventStarted }) {
			t.Errorf("the start is not among the events: %+v", events)
		}
	})
}

func TestEvents_NoThresholdNoSlowLines(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		supply, logs := logger()
		cfg.SQLSlowThreshold = 0
		app := fxtest.New(t, fxtest.Use(cfg), supply)
		if _, err := app.DB.ExecContext(t.Context(), "select 1"); err != nil {
			t.Fatal(err)
		}
		if n := logs.FilterMessageSnippet("slow").Len(); n != 0 {
			t.Errorf("%d lines", n)
		}
		app.Sessions.SetEcho(true)
		if _, err := app.DB.ExecContext(t.Context(), "select 1"); err != nil {
			t.Fatal(err)
		}
		app.Sessions.SetEcho(false)
		if _, err := app.DB.ExecContext(t.Context(), "select 1"); err != nil {
			t.Fatal(err)
		}
		if n := logs.FilterMessage("sql").Len(); n != 1 {
			t.Errorf("the echo logged %d statements, want the one while it was on", n)
		}
	})
}

func TestEvents_SpentRetriesAreTold(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		supply, logs := logger()
		app := fxtest.New(t, fxtest.Use(cfg), supply)
		policy := dbfx.RetryPolicy{MaxAttempts: 3, Base: time.Millisecond, Retryable: func(error) bool { return true }}
		_ = app.Sessions.Run(t.Context(), func(context.Context, *dbfx.Session) error { return errBoom }, dbfx.Retry(policy), dbfx.Name("hopeless"))
		got := lines(logs, dbfx.EventRetriesSpent)
		if len(got) != 1 || got[0].ContextMap()["session"] != "hopeless" || got[0].ContextMap()["attempts"] != int64(3) {
			t.Errorf("got %v", got)
		}
		if app.Sessions.Stats().Retries != 2 {
			t.Errorf("got %+v", app.Sessions.Stats())
		}
	})
}
