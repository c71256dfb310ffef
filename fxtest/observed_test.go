package fxtest_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

// choosy is a recorder that wants no brackets.
type choosy struct{ recorder }

func (*choosy) WantBrackets() bool { return false }

func (r *recorder) texts() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []string
	for _, e := range r.statements {
		list = append(list, e.SQL)
	}
	r.statements = nil
	return list
}

func TestBracketChooser_IsToldWhatSomeoneWaitsFor(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		cfg.SQLSlowThreshold = 0
		few, all := &choosy{}, &recorder{}
		app := fxtest.New(t, fxtest.Use(cfg), observe(few))
		both := fxtest.New(t, fxtest.Use(cfg), observe(all), observe(&choosy{}))
		one := func(ctx context.Context, tx *dbfx.Session) error {
			_, err := tx.ExecContext(ctx, "select 1")
			return err
		}
		fails := func(ctx context.Context, tx *dbfx.Session) error {
			_ = one(ctx, tx)
			return errBoom
		}
		few.texts()
		all.texts()
		for _, app := range []*fxtest.App{app, both} {
			if err := app.Sessions.View(t.Context(), one); err != nil {
				t.Fatal(err)
			}
			if err := app.Sessions.Run(t.Context(), one); err != nil {
				t.Fatal(err)
			}
			_ = app.Sessions.Run(t.Context(), fails)
		}
		if got, want := few.texts(), []string{"select 1", "select 1", "COMMIT", "select 1", "ROLLBACK"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		if got := all.texts(); len(got) != 9 || !strings.HasPrefix(got[0], "BEGIN") || got[2] != "ROLLBACK" {
			t.Errorf("an observer that says nothing is told all: got %q", got)
		}
	})
}

// TestSetEcho_InTheMiddleOfAStatement: no one listened when it began, so that no one
// knows when that was.
func TestSetEcho_InTheMiddleOfAStatement(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		cfg.SQLSlowThreshold = 0
		core, logs := observer.New(zap.DebugLevel)
		db := open(t, cfg, dbfx.WithLogger(zap.New(core)))
		rows, err := db.DB().QueryContext(t.Context(), "select 1 union select 2")
		if err != nil {
			t.Fatal(err)
		}
		db.Sessions().SetEcho(true)
		rows.Next()
		if err := rows.Close(); err != nil {
			t.Fatal(err)
		}
		for _, line := range logs.FilterMessage("sql").All() {
			if d, _ := line.ContextMap()["duration"].(time.Duration); d > time.Hour {
				t.Errorf("got %v", line.ContextMap())
			}
		}
	})
}

func TestEvents_ASlowStatementThatFailedHasItsClass(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		supply, logs := logger()
		cfg.SQLSlowThreshold = time.Nanosecond
		app := fxtest.New(t, fxtest.Use(cfg), supply)
		if _, err := app.DB.ExecContext(t.Context(), "create table kv (k text primary key, v integer)"); err != nil {
			t.Fatal(err)
		}
		_, err := app.DB.ExecContext(t.Context(), "insert into kv values ('a', 1), ('a', 2)")
		if !dbfx.IsUniqueViolation(err) {
			t.Fatal(err)
		}
		for _, line := range lines(logs, dbfx.EventSlowStatement) {
			if line.ContextMap()["statement"] == "insert into kv values (?, ...), (?, ...)" && line.ContextMap()["class"] == "constraint" {
				return
			}
		}
		t.Errorf("got %v", lines(logs, dbfx.EventSlowStatement))
	})
}

// TestHealth_ManyWhoAskForWritesAreOneSession: each would be a session that writes,
// and the holder of SQLite's right to write keeps them all.
func TestHealth_ManyWhoAskForWritesAreOneSession(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		cfg.PoolSize, cfg.MaxOverflow = 1, 0
		app := fxtest.New(t, fxtest.Use(cfg))
		release := occupy(t, app, "holder")
		var wg sync.WaitGroup
		var enough atomic.Bool
		for range 20 {
			wg.Go(func() {
				for !enough.Load() {
					if report := app.Health.CheckWrites(t.Context()); report.Status != dbfx.Warn && !spent(report) {
						t.Errorf("got %+v", report)
					}
				}
			})
		}
		most := 0
		for seen := 0; seen < 100; time.Sleep(time.Millisecond) {
			waiting := app.Sessions.Stats().Waiting
			most = max(most, waiting)
			if waiting > 0 {
				seen++
			}
		}
		enough.Store(true)
		wg.Wait()
		release()
		if most != 1 {
			t.Errorf("%d sessions waited to ask, want one", most)
		}
	})
}

// TestHealth_AFailingCheckDoesNotTakeTheSecondQuestion: the database itself was up.
func TestHealth_AFailingCheckDoesNotTakeTheSecondQuestion(t *testing.T) {
	t.Parallel()
	direct := fxtest.Postgres(t)
	p := newProxy(t, direct)
	cfg := direct
	cfg.DatabaseURL = hosts(direct, "sslmode=disable", p.port).DatabaseURL
	supply, logs := logger()
	fails := dbfx.Check{Name: "disk", Run: func(context.Context) dbfx.CheckResult { return dbfx.CheckResult{Status: dbfx.Fail} }}
	app := fxtest.New(t, fxtest.Use(cfg), supply, checks(fails))
	up := func() {
		eventually(t, "the database is up and the check fails", func() bool {
			report := app.Health.Check(t.Context())
			return report.Status == dbfx.Fail && report.State == dbfx.StateUp
		})
		eventually(t, "that report is old", func() bool { return time.Since(app.Health.Last().Time) > time.Second })
	}
	for range 5 {
		up()
		if err := app.DB.PingContext(t.Context()); err != nil { // a connection that has idled is not trusted
			t.Fatal(err)
		}
		told := len(lines(logs, dbfx.EventDown))
		p.strand()
		report := app.Health.Check(t.Context())
		if spent(report) {
			continue
		}
		if report.State != dbfx.StateUp {
			t.Errorf("got %+v", report)
		}
		if got := lines(logs, dbfx.EventDown); len(got) != told {
			t.Errorf("got %v", got)
		}
		return
	}
	t.Error("no check had the time to ask a second time")
}

// TestStats_ReplicaThatHangsIsNoTimeout: the primary stands in, and no session went
// without. The log has one line, without the text of an error.
func TestStats_AReplicaThatHangsIsNoTimeout(t *testing.T) {
	t.Parallel()
	direct := fxtest.Postgres(t)
	through, link := fxtest.Proxy(t, direct)
	cfg := direct
	cfg.DatabaseReplicaURL = dbfx.NewSecret(through.URL())
	supply, logs := logger()
	app := fxtest.New(t, fxtest.Use(cfg), supply)
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
	var four, ended sync.WaitGroup
	four.Add(4)
	for range 4 { // no one waits for the primary's connections later
		ended.Go(func() {
			err := app.Sessions.View(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
				_, err := tx.ExecContext(ctx, "select 1")
				four.Done()
				four.Wait()
				return err
			}, dbfx.Primary())
			if err != nil {
				t.Error(err)
			}
		})
	}
	ended.Wait()
	longest := standstill(t)
	before := app.Sessions.Stats()
	link.Cut() // the next ones dial
	link.Freeze()
	views := int64(0)
	eventually(t, "the log says that the primary stands in", func() bool {
		view()
		views++
		return len(lines(logs, dbfx.EventStandIn)) > 0
	})
	for until := time.Now().Add(2500 * time.Millisecond); time.Now().Before(until); views += 4 { // the replicas are tried once a second
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(view)
		}
		wg.Wait()
	}
	link.Heal()
	s := app.Sessions.Stats()
	if s.Timeouts != 0 || s.Waits.Count-before.Waits.Count != views || s.Read-before.Read != views {
		t.Errorf("%d Views: got %d timeouts, %d waits, %d read", views, s.Timeouts, s.Waits.Count-before.Waits.Count, s.Read-before.Read)
	}
	if got := lines(logs, dbfx.EventSaturated); len(got) != 0 && longest() < 500*time.Millisecond { // no one waits for a place
		t.Errorf("got %v", got)
	}
	told := logs.FilterMessageSnippet("stands in").All()
	if len(told) != 1 || told[0].ContextMap()["class"] == "" || told[0].ContextMap()["reason"] != nil {
		t.Errorf("got %v", told)
	}
}

// standstill returns for how long at most the machine has stood still since.
func standstill(t *testing.T) (longest func() time.Duration) {
	var most atomic.Int64
	var watch sync.WaitGroup
	stop := make(chan struct{})
	watch.Go(func() {
		for last := time.Now(); ; last = time.Now() {
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
				most.Store(max(most.Load(), int64(time.Since(last))))
			}
		}
	})
	t.Cleanup(func() { close(stop); watch.Wait() })
	return func() time.Duration { return time.Duration(most.Load()) }
}

// TestEvents_ManyConnectionsThatCannotRollBackAreOneLine: a server that has frozen
// under many sessions.
func TestEvents_ManyConnectionsThatCannotRollBackAreOneLine(t *testing.T) {
	t.Parallel()
	direct := fxtest.Postgres(t)
	through, link := fxtest.Proxy(t, direct)
	supply, logs := logger()
	app := fxtest.New(t, fxtest.Use(through), supply)
	if _, err := app.DB.ExecContext(t.Context(), "create table kv (k text primary key, v integer)"); err != nil {
		t.Fatal(err)
	}
	var begun, wg sync.WaitGroup
	frozen := make(chan struct{})
	for i := range 4 {
		begun.Add(1)
		wg.Go(func() {
			_ = app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
				err := put(ctx, tx, string(rune('a'+i)), i)
				begun.Done()
				<-frozen
				if err == nil {
					err = errBoom
				}
				return err
			})
		})
	}
	begun.Wait()
	link.Freeze()
	close(frozen)
	wg.Wait()
	link.Heal()
	if n := logs.FilterMessageSnippet("rollback failed").Len(); n != 1 {
		t.Errorf("%d lines: %v", n, logs.FilterLevelExact(zap.WarnLevel).All())
	}
}

// TestEcho_AnErrorQuotesNoArgument: PostgreSQL and pgx put what they cannot take into
// the texts of their errors.
func TestEcho_AnErrorQuotesNoArgument(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		for _, params := range []bool{false, true} {
			cfg.SQLEcho, cfg.SQLEchoParams = true, params
			supply, logs := logger()
			app := fxtest.New(t, fxtest.Use(cfg), supply)
			if _, err := app.DB.ExecContext(t.Context(), "create table if not exists kv (k text primary key, v integer)"); err != nil {
				t.Fatal(err)
			}
			for _, query := range []string{"insert into kv values ('a', $1)", "select cast(cast($1 as text) as integer)", "select * from missing where k = $1"} {
				_, _ = app.DB.ExecContext(t.Context(), query, "hunter2")
			}
			quoted, explained := 0, 0
			for _, line := range logs.FilterMessage("sql").All() {
				text, _ := line.ContextMap()["error"].(string)
				if strings.Contains(text, "hunter2") {
					quoted++
				}
				if strings.Contains(text, "missing") {
					explained++
				}
			}
			if !params && quoted > 0 || explained != 1 || params && cfg.Dialect() == dbfx.Postgres && quoted != 2 {
				t.Errorf("params %t: %d errors quote the argument, %d name the table that is missing", params, quoted, explained)
			}
		}
	})
}
