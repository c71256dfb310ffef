package dbfx

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// names are those of reports, with their statuses.
func names(reports []CheckReport) []string {
	var list []string
	for _, r := range reports {
		list = append(list, r.Name+" "+string(r.Status))
	}
	return list
}

func TestHealth_ChecksStandInAnOrderAndUnderNamesOfTheirOwn(t *testing.T) {
	t.Parallel()
	pass := func(context.Context) CheckResult { return CheckResult{Status: Pass} }
	db, err := Open(t.Context(), DefaultConfig().at(t), WithCheck(Check{Name: "zebra", Run: pass}),
		WithCheck(Check{Name: "cache", Run: pass, Optional: true}), WithCheck(Check{Name: "disk", Run: pass}),
		WithCheck(Check{Name: "disk", Run: pass}), WithCheck(Check{Name: "a\xff", Run: pass, Optional: true}))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close(context.Background()) }()
	got := names(db.Health().Check(t.Context()).Checks)
	if want := []string{"disk pass", "disk#2 pass", "zebra pass", "a\uFFFD pass", "cache pass"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// at is c with a file of the test's own.
func (c Config) at(t *testing.T) Config {
	c.SQLitePath = t.TempDir() + "/a.db"
	return c
}

func TestCheck_AnswersWhateverRunDoes(t *testing.T) {
	t.Parallel()
	own := map[string]float64{"depth": 1, "ratio": math.NaN(), "most": math.Inf(1)}
	tests := map[string]struct {
		give func(context.Context) CheckResult
		want Status
	}{
		"no status":   {func(context.Context) CheckResult { return CheckResult{Figures: own} }, Fail},
		"odd status":  {func(context.Context) CheckResult { return CheckResult{Status: "ok"} }, Fail},
		"goexit":      {func(context.Context) CheckResult { runtime.Goexit(); return CheckResult{} }, Fail},
		"panic":       {func(context.Context) CheckResult { panic("boom") }, Fail},
		"good":        {func(context.Context) CheckResult { return CheckResult{Status: Warn, Figures: own} }, Warn},
		"no function": {nil, Fail},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := ordered([]Check{{Name: "mine", Run: tt.give}})[0]
			for range 2 { // one that ended its goroutine is asked again
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				result := <-c.start(ctx)
				if ctx.Err() != nil || result.Status != tt.want || tt.want == Fail && result.Reason == "" {
					t.Errorf("got %+v", result)
				}
				for figure, value := range result.Figures {
					if figure != "depth" || value != 1 {
						t.Errorf("got the figure %s %g", figure, value)
					}
					result.Figures[figure] = 2 // of a copy
				}
				cancel()
			}
		})
	}
}

func TestProbes_TwoDatabasesOfOneName(t *testing.T) {
	t.Parallel()
	broken := Check{Name: "disk", Run: func(context.Context) CheckResult { return CheckResult{Status: Fail, Reason: "full"} }}
	var list []*Database
	for _, opts := range [][]OpenOption{{WithCheck(broken)}, nil} {
		db, err := Open(t.Context(), DefaultConfig().at(t), opts...)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = db.Close(context.Background()) }()
		list = append(list, db)
	}
	reports, worst := NewProbes(list...).Check(t.Context())
	if worst != Fail || len(reports) != 2 || reports[""].Status != Fail || reports["#2"].Status != Pass {
		t.Errorf("got %s of %+v", worst, reports)
	}
}

// TestEvents_ManyNamesAreFewLines: whoever makes up the names of sessions must not
// flood the log with them.
func TestEvents_ManyNamesAreFewLines(t *testing.T) {
	t.Parallel()
	core, logs := observer.New(zap.DebugLevel)
	db, err := Open(t.Context(), DefaultConfig().at(t), WithLogger(zap.New(core)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close(context.Background()) }()
	policy := RetryPolicy{MaxAttempts: 2, Base: 1, Retryable: func(error) bool { return true }}
	for i := range 200 {
		if i == 1 {
			db.events.mu.Lock()
			db.events.full[EventRetriesSpent].since = time.Now().Add(time.Hour) // however long the rest takes
			db.events.mu.Unlock()
		}
		_ = db.Sessions().Run(t.Context(), func(context.Context, *Session) error { return errors.New("boom") }, Retry(policy), Name(fmt.Sprint("user ", i)))
	}
	key := zap.String("event", string(EventRetriesSpent))
	if n := logs.FilterField(key).Len(); n != mostLines {
		t.Errorf("%d lines for 200 names, want %d", n, mostLines)
	}
	db.events.mu.Lock()
	db.events.full[EventRetriesSpent].since = time.Now().Add(-quiet)
	db.events.mu.Unlock()
	_ = db.Sessions().Run(t.Context(), func(context.Context, *Session) error { return errors.New("boom") }, Retry(policy), Name("last"))
	lines := logs.FilterField(key).All()
	if last := lines[len(lines)-1].ContextMap(); last["session"] != "last" || last["alike"] != int64(200-mostLines) {
		t.Errorf("got %v, want how many were left out", last)
	}
}

// clumsy is an observer that panics at everything.
type clumsy struct{}

func (clumsy) ObserveStatement(context.Context, StatementEvent)           { panic("boom") }
func (clumsy) ObserveSession(context.Context, SessionEvent)               { panic("boom") }
func (clumsy) ObserveEvent(context.Context, Event)                        { panic("boom") }
func (clumsy) StartSession(context.Context, SessionEvent) context.Context { panic("boom") }
func (clumsy) ObserveStep(context.Context, SessionStep)                   { panic("boom") }
func (clumsy) EndSession(context.Context)                                 { panic("boom") }
func (clumsy) ObserveDatabase(DatabaseInfo)                               { panic("boom") }

func TestObserver_OneThatAlwaysPanicsIsOneLine(t *testing.T) {
	t.Parallel()
	core, logs := observer.New(zap.DebugLevel)
	db, err := Open(t.Context(), DefaultConfig().at(t), WithLogger(zap.New(core)), WithObserver(clumsy{}))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close(context.Background()) }()
	for range 100 {
		if err := db.Sessions().Run(t.Context(), func(context.Context, *Session) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if n := logs.FilterMessage("an observer panicked").Len(); n != 1 {
		t.Errorf("%d lines", n)
	}
}

// TestRunning_AConnectionThatCameAfterTheLookIsHeld: the clock is read before the
// sessions are looked at.
func TestRunning_AConnectionThatCameAfterTheLookIsHeld(t *testing.T) {
	t.Parallel()
	w := &work{}
	now := time.Now()
	w.live.holds.Store(moment(now.Add(time.Millisecond)))
	if r := w.live.look(w, now); r.Held <= 0 {
		t.Errorf("held for %s: it would count neither as running nor as waiting", r.Held)
	}
	w.live.waits.Store(moment(now.Add(time.Millisecond)))
	if r := w.live.look(w, now); r.Wait < 0 {
		t.Errorf("waits for %s", r.Wait)
	}
}

// TestMonitor_AStateThatFlapsIsFewLines: the first outages are told one by one.
func TestMonitor_AStateThatFlapsIsFewLines(t *testing.T) {
	t.Parallel()
	class := "refused"
	tests := map[string]struct {
		begin, end EventKind
		see        func(m *monitor, at time.Time, out bool)
	}{
		"the database": {EventDown, EventUp, func(m *monitor, at time.Time, out bool) {
			r := Report{Time: at, State: StateSaturated}
			if out {
				r.State, r.Class = StateDown, class
			}
			m.saw(r)
		}},
		"the replicas": {EventStandIn, EventReplicaBack, func(m *monitor, at time.Time, out bool) {
			s := m.database.sessions
			s.awayClass.Store(&class)
			s.backAt.Store(0)
			if out {
				s.backAt.Store(moment(at))
			}
			m.lookAtReplica(at)
		}},
		"writes": {EventNoWrites, EventWritesAgain, func(m *monitor, at time.Time, out bool) {
			m.refused.Store(nil)
			if out {
				m.refused.Store(&refusal{class: class})
			}
			m.lookAtWrites(at)
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, m := looked(t)
			db.sessions.replica = true
			told := func() (list []Event) {
				for _, e := range db.Events() {
					if e.Kind == tt.begin || e.Kind == tt.end {
						list = append(list, e)
					}
				}
				return list
			}
			at := time.Now()
			see := func(after time.Duration, out bool) {
				at = at.Add(after)
				tt.see(m, at, out)
			}
			for range 100 {
				see(time.Second, true)
				see(time.Second, true)
				see(time.Second, false)
				see(time.Second, false)
			}
			if got := told(); len(got) != 5 || got[4].Kind != tt.begin || got[4].Class != class { // it begins, ends, begins, ends, begins
				t.Fatalf("%d lines for a hundred outages: %+v", len(got), got)
			}
			see(steady, false)
			got := told()
			last := got[len(got)-1]
			if len(got) != 6 || last.Kind != tt.end || last.Alike != 97 || last.Duration < 300*time.Second || last.Class != class {
				t.Errorf("when it is steady: got %+v, want an end", last)
			}
			see(time.Hour, true)
			see(3*time.Second, false)
			if got = told(); len(got) != 8 || got[7].Kind != tt.end || got[7].Duration != 3*time.Second || got[7].Alike != 0 {
				t.Errorf("an hour later: got %+v", got[6:])
			}
		})
	}
}

// TestMonitor_TellsTheEndThatItKeptBack: no check may come any more once the database
// takes writes.
func TestMonitor_TellsTheEndThatItKeptBack(t *testing.T) {
	t.Parallel()
	db, m := looked(t)
	at := time.Now()
	for range 3 {
		m.refused.Store(&refusal{class: "disk full"})
		m.lookAtWrites(at)
		m.refused.Store(nil)
		m.lookAtWrites(at)
	}
	m.look(at.Add(steady))
	if begins, ends := len(db.of(EventNoWrites)), len(db.of(EventWritesAgain)); begins != 3 || ends != 3 {
		t.Errorf("got %d begins and %d ends", begins, ends)
	}
}

// TestMonitor_LoadInWavesIsOneState: sessions that time out in bursts.
func TestMonitor_LoadInWavesIsOneState(t *testing.T) {
	t.Parallel()
	db, m := looked(t)
	now := time.Now()
	for range 20 {
		db.sessions.meter.timeouts.Add(1)
		for range 4 {
			now = now.Add(time.Second)
			m.look(now)
		}
	}
	if full, over := len(db.of(EventSaturated)), len(db.of(EventRelieved)); full != 2 || over != 1 {
		t.Errorf("twenty bursts: %d begin and %d end", full, over)
	}
	m.look(now.Add(steady + time.Second))
	if over := len(db.of(EventRelieved)); over != 2 {
		t.Errorf("once they are over: %d end", over)
	}
}
