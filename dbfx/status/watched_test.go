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

// TestWhom_NamesTheHeadOfTheQueue: of five that want one row PostgreSQL says of each
// that those before it block it too.
func TestWhom_NamesTheHeadOfTheQueue(t *testing.T) {
	t.Parallel()
	by := func(pids ...uint32) (list []dbfx.Blocking) {
		for _, pid := range pids {
			list = append(list, dbfx.Blocking{Backend: pid, Application: "psql", State: "idle in transaction", Held: time.Minute})
		}
		return list
	}
	blocked := map[uint32]dbfx.Blocked{}
	for _, b := range []dbfx.Blocked{{Backend: 2, By: by(1)}, {Backend: 3, By: by(2, 1)}, {Backend: 4, By: by(3, 2)}, {Backend: 5, By: by(9)}, {Backend: 6, By: by(7)}, {Backend: 7, By: by(6)}} {
		blocked[b.Backend] = b
	}
	list := []Session{{Name: "recount", Backend: 1}}
	for give, want := range map[uint32]string{
		2: "recount (process 1)", 3: "recount (process 1), behind\u00a01\u00a0more", 4: "recount (process 1), behind\u00a02\u00a0more",
		5: "process 9 (psql, idle in transaction for 60.0\u00a0s)", 6: "each other, 2 sessions",
	} {
		if got := whom(blocked[give], blocked, map[uint32]int{1: 0}, list); got != want {
			t.Errorf("%d: got %q, want %q", give, got, want)
		}
	}
}

// TestHistory_TheLongestWaitIsNeverLessThanOneThatEnded: most end between two samples.
func TestHistory_TheLongestWaitIsNeverLessThanOneThatEnded(t *testing.T) {
	t.Parallel()
	bounds := dbfx.Bounds()
	stats := func(class int) dbfx.Stats {
		counts := make([]int64, len(bounds)+1)
		counts[0], counts[class] = 5, counts[class]+1
		return dbfx.Stats{Waits: dbfx.Distribution{Bounds: bounds, Counts: counts}}
	}
	now := time.Now().Truncate(pointLength)
	for _, class := range []int{1, len(bounds) - 1, len(bounds)} {
		var h history
		h.sample(now, stats(0), false)
		h.sample(now.Add(time.Second), stats(class), false)
		_, recent, _ := h.read(now.Add(time.Second))
		if want := bounds[min(class, len(bounds)-1)].Seconds(); recent.LongestWait != want || h.waited() {
			t.Errorf("class %d: got %g s, want %g", class, recent.LongestWait, want)
		}
	}
}

func TestBound_HasNoDigitsThatAreNotKnown(t *testing.T) {
	t.Parallel()
	for give, want := range map[float64]string{0: "0", 25e-6: "25\u00a0µs", 0.0025: "2.5\u00a0ms", 0.1: "100\u00a0ms", 10: "10\u00a0s"} {
		if got := bound(give); got != want {
			t.Errorf("%g: got %q, want %q", give, got, want)
		}
	}
}

func TestCaller_IsALineAndAFunction(t *testing.T) {
	t.Parallel()
	for give, want := range map[string][2]string{
		"store.go:42 store.(*Store).Create.func1": {"store.go:42", "(*Store).Create.func1"}, "store.Create": {"store.Create", ""}, "": {"", ""},
	} {
		if got := [2]string{lineOf(give), functionOf(give)}; got != want {
			t.Errorf("%q: got %q, want %q", give, got, want)
		}
	}
}

// TestHistory_AClockThatIsSetBack must not stand still until it is there again.
func TestHistory_AClockThatIsSetBack(t *testing.T) {
	t.Parallel()
	var h history
	at := time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)
	committed := int64(0)
	second := func() {
		at = at.Add(time.Second)
		committed++
		h.sample(at, dbfx.Stats{Committed: committed}, false)
	}
	for range 60 {
		second()
	}
	at = at.Add(-2 * time.Second)
	for range 60 {
		second()
	}
	if list, _, _ := h.read(at); len(list) < 20 || h.before.Committed != 120 {
		t.Errorf("set back by two seconds: %d points", len(list))
	}
	at = at.Add(-time.Hour)
	for range 60 {
		second()
	}
	list, recent, rate := h.read(at)
	if len(list) < 12 || recent.Sessions < 59 || rate > 2 {
		t.Errorf("set back by an hour: %d points, %d sessions, %.1f a second", len(list), recent.Sessions, rate)
	}
}
