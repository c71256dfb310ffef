package fxtest_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"go.uber.org/fx"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

// TestNew_ALeakKeepsBackNoOtherStopHook has two databases that leak, and hooks that
// come after theirs, one of which fails.
func TestNew_ALeakKeepsBackNoOtherStopHook(t *testing.T) {
	if childPart() {
		var dbs struct {
			fx.In
			Main  *sql.DB
			Audit *sql.DB `name:"audit"`
		}
		first := fx.Module("first", fx.Invoke(func(lc fx.Lifecycle) {
			lc.Append(fx.StopHook(func(ctx context.Context) { fmt.Println("the first has stopped:", ctx.Err()) }))
			lc.Append(fx.Hook{OnStop: func(context.Context) error { return errors.New("the second cannot stop") }})
		}))
		fails := fx.Invoke(func(lc fx.Lifecycle) {
			if os.Getenv("FXTEST_END") == "start" {
				lc.Append(fx.StartHook(func() error { leak(dbs.Main); leak(dbs.Audit); return errors.New("it does not start") }))
			}
		})
		fxtest.Start(t, first, dbfx.Module, dbfx.Named("audit"), fxtest.UseNamed("audit", fxtest.SQLite(t)), fx.Populate(&dbs), fails)
		leak(dbs.Main)
		leak(dbs.Audit)
		return
	}
	t.Parallel()
	for _, end := range []string{"start", "stop"} {
		t.Run(end, func(t *testing.T) {
			t.Parallel()
			out, err := child(t, "FXTEST_END="+end).CombinedOutput()
			if err == nil || strings.Count(string(out), "still in use") != 2 || strings.Count(string(out), "fxtest_test.leak") != 2 {
				t.Errorf("got %v, want two leaks in\n%s", err, out)
			}
			if !strings.Contains(string(out), "the first has stopped: <nil>") {
				t.Errorf("a stop hook did not run\n%s", out)
			}
			if !strings.Contains(string(out), "stop hook github.com/sergas/dbkit/fxtest_test.TestNew_ALeakKeepsBackNoOtherStopHook") {
				t.Errorf("the hook that failed is not named\n%s", out)
			}
		})
	}
}

// leak takes a connection and forgets it.
func leak(db *sql.DB) { _, _ = db.Conn(context.Background()) } //nolint:errcheck
