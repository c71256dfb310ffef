package fxtest_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

func TestEvents_ThePrimaryStandsInForAReplicaThatIsAway(t *testing.T) {
	t.Parallel()
	direct := fxtest.Postgres(t)
	through, link := fxtest.Proxy(t, direct)
	cfg := direct
	cfg.DatabaseReplicaURL = dbfx.NewSecret(through.URL())
	var databases []*dbfx.Database
	supply, logs := logger()
	app := fxtest.New(t, fxtest.Use(cfg), supply, listed(&databases))
	view := func() {
		err := app.Sessions.View(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
			_, err := tx.ExecContext(ctx, "select 1")
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
	view()
	link.Down()
	eventually(t, "the log says that the primary stands in", func() bool {
		view()
		return len(lines(logs, dbfx.EventStandIn)) > 0
	})
	for range 20 {
		view()
	}
	link.Heal()
	eventually(t, "the log says that the replica is back", func() bool {
		view()
		return len(lines(logs, dbfx.EventReplicaBack)) > 0
	})
	if in, back := lines(logs, dbfx.EventStandIn), lines(logs, dbfx.EventReplicaBack); len(in) != 1 || len(back) != 1 || back[0].ContextMap()["duration"] == nil {
		t.Errorf("got %v and %v", in, back)
	}
	if got := lines(logs, dbfx.EventDown); len(got) != 0 {
		t.Errorf("the database was not down: %v", got)
	}
}

// TestHealth_AsksASecondTimeBeforeItSaysDown: the connections that were open have
// fallen silent, as behind a firewall that forgot them; new ones are answered.
func TestHealth_AsksASecondTimeBeforeItSaysDown(t *testing.T) {
	t.Parallel()
	direct := fxtest.Postgres(t)
	p := newProxy(t, direct)
	cfg := direct
	cfg.DatabaseURL = hosts(direct, "sslmode=disable", p.port).DatabaseURL
	for range 5 {
		supply, logs := logger()
		app := fxtest.New(t, fxtest.Use(cfg), supply)
		if err := app.DB.PingContext(t.Context()); err != nil {
			t.Fatal(err)
		}
		p.strand()
		report := app.Health.Check(t.Context())
		if spent(report) || report.Status == dbfx.Pass { // where it has idled for a second, the pool itself finds out
			continue
		}
		if report.Status != dbfx.Warn || report.Class == "" {
			t.Errorf("got %+v, want a warning with the class of the first answer", report)
		}
		if got := lines(logs, dbfx.EventDown); len(got) != 0 {
			t.Errorf("got %v", got)
		}
		return
	}
	t.Error("no check has asked a second time")
}

// spent reports whether the two seconds of a check were over before the second question
// was answered, as when the machine stands still. The first takes one of them.
func spent(r dbfx.Report) bool {
	return r.State == dbfx.StateDown && r.Duration >= 1900*time.Millisecond
}

// blocking is an observer that hangs when it is told that the database is down.
type blocking struct {
	recorder
	told    atomic.Int32
	release chan struct{}
}

func (b *blocking) ObserveEvent(_ context.Context, e dbfx.Event) {
	if e.Kind == dbfx.EventDown {
		b.told.Add(1)
		<-b.release
	}
}

func TestHealth_AnObserverThatHangsHoldsUpNoCheckAndNoStop(t *testing.T) {
	t.Parallel()
	cfg, link := fxtest.Proxy(t, fxtest.Postgres(t))
	cfg.ConnectTimeout = time.Second
	b := &blocking{release: make(chan struct{})}
	t.Cleanup(func() { close(b.release) })
	db, err := dbfx.Open(t.Context(), cfg, dbfx.WithObserver(b))
	if err != nil {
		t.Fatal(err)
	}
	link.Down()
	eventually(t, "the observer hangs", func() bool {
		_ = db.Health().Check(t.Context())
		return b.told.Load() == 1
	})
	link.Heal()
	eventually(t, "health says up", func() bool { return db.Health().Check(t.Context()).State == dbfx.StateUp })
	if err := db.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestEvents_TheEchoIsSwitchedWhileItRuns(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		supply, logs := logger()
		app := fxtest.New(t, fxtest.Use(cfg), supply)
		done := make(chan struct{})
		go func() { // sessions run meanwhile
			defer close(done)
			for range 200 {
				_ = app.Sessions.View(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
					_, err := tx.ExecContext(ctx, "select 1")
					return err
				})
			}
		}()
		for range 20 {
			app.Sessions.SetEcho(true)
			app.Sessions.SetEcho(false)
		}
		<-done
		if app.Sessions.Echo() {
			t.Error("it is on")
		}
		before := logs.FilterMessage("sql").Len()
		app.Sessions.SetEcho(true)
		if _, err := app.DB.ExecContext(t.Context(), "select 2"); err != nil || !app.Sessions.Echo() {
			t.Fatal(err)
		}
		app.Sessions.SetEcho(false)
		if _, err := app.DB.ExecContext(t.Context(), "select 3"); err != nil {
			t.Fatal(err)
		}
		got := logs.FilterMessage("sql").All()[before:]
		if len(got) != 1 || got[0].ContextMap()["sql"] != "select 2" {
			t.Errorf("got %v, want the statement that ran while it was on", got)
		}
	})
}
