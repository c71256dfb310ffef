package fxtest_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

func TestHold_IsOfThatVeryFile(t *testing.T) {
	t.Parallel()
	cfg := dbfx.DefaultConfig()
	cfg.SQLitePath = filepath.Join(t.TempDir(), "a b%41#?'+&.db")
	app := fxtest.New(t, fxtest.Use(cfg))
	if _, err := app.DB.ExecContext(t.Context(), "create table t (i integer)"); err != nil {
		t.Fatal(err)
	}
	release := fxtest.Hold(t, cfg)
	write := func(ctx context.Context) error {
		return app.Sessions.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
			_, err := tx.ExecContext(ctx, "insert into t values (1)")
			return err
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	wantIs(t, write(ctx), context.DeadlineExceeded)
	release()
	release()
	if err := write(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestHold_SaysThatMemoryHasNoLock(t *testing.T) {
	if childPart() {
		cfg := dbfx.DefaultConfig()
		cfg.SQLitePath = ":memory:"
		fxtest.Hold(t, cfg)
		return
	}
	t.Parallel()
	out, err := child(t).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "in memory has no lock") {
		t.Errorf("got %v\n%s", err, out)
	}
}
