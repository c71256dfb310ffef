package status

import (
	"context"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/sergas/dbkit/dbfx"
)

func one(t *testing.T, opts ...dbfx.OpenOption) (*dbfx.Database, *Page) {
	t.Helper()
	page := New(Options{})
	t.Cleanup(page.Close)
	cfg := dbfx.DefaultConfig()
	cfg.SQLitePath = t.TempDir() + "/a.db"
	db, err := dbfx.Open(t.Context(), cfg, append(opts, dbfx.WithObserver(page.Observer()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close(context.Background()) })
	page.Watch(db)
	return db, page
}

// TestPage_NamesTheOneThatWritesAndNotOneInItsHooks: a session that has committed
// holds no one up.
func TestPage_NamesTheOneThatWritesAndNotOneInItsHooks(t *testing.T) {
	t.Parallel()
	db, page := one(t)
	end, done := make(chan struct{}), make(chan error, 3)
	run := func(name string, fn func(tx *dbfx.Session)) {
		go func() {
			done <- db.Sessions().Run(t.Context(), func(_ context.Context, tx *dbfx.Session) error { fn(tx); return nil }, dbfx.Name(name))
		}()
	}
	hooked, held := make(chan struct{}), make(chan struct{})
	run("in its hook", func(tx *dbfx.Session) { tx.AfterCommit(func(context.Context) { close(hooked); <-end }) })
	<-hooked
	run("writes", func(*dbfx.Session) { close(held); <-end })
	<-held
	run("waits", func(*dbfx.Session) {})
	for db.Sessions().Stats().Waiting == 0 {
		time.Sleep(time.Millisecond)
	}
	for _, s := range page.Snapshot().Databases[0].Now {
		if want := map[string]int{"writes": 1}[s.Name]; s.Blocks != want {
			t.Errorf("%s holds up %d, want %d", s.Name, s.Blocks, want)
		}
	}
	if html, err := page.frame(); err != nil || !strings.Contains(html.sections["default.now"].html, "no connection") {
		t.Errorf("the page does not say that the one in its hook has no connection, %v", err)
	}
	close(end)
	for range 3 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// TestPage_ForgetsWhoWaitedWhenSomeoneLookedLast: nothing is asked while no one looks.
func TestPage_ForgetsWhoWaitedWhenSomeoneLookedLast(t *testing.T) {
	t.Parallel()
	_, page := one(t)
	w := page.watched()[0]
	w.mu.Lock()
	w.asked, w.trouble = time.Now().Add(-time.Minute), "the database did not answer"
	w.mu.Unlock()
	if _, _, trouble := w.running(); trouble != "" {
		t.Errorf("got %q of a minute ago", trouble)
	}
}

func TestFigure_ShowsVersionsAndRatios(t *testing.T) {
	t.Parallel()
	for give, want := range map[float64]string{20261124120000: "20261124120000", 0: "0", 0.5: "0.5", 1.23456: "1.23", -3: "-3", 1e15 + 1: "1000000000000001", math.Pi * 1000: "3142"} {
		if got := figure(give); got != want {
			t.Errorf("%g: got %s, want %s", give, got, want)
		}
	}
}
