package metrics_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.uber.org/fx"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/dbfx/metrics"
	"github.com/sergas/dbkit/fxtest"
)

// opened is a database that m observes.
func opened(t *testing.T, m *metrics.Metrics) *dbfx.Database {
	t.Helper()
	db, err := dbfx.Open(t.Context(), fxtest.SQLite(t), dbfx.WithObserver(m))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close(context.Background()) })
	return db
}

// TestModule_OneOfTwoApplicationsHasAReplica: their collectors describe different
// series, and a registry tells a name that is taken only of equal ones.
func TestModule_OneOfTwoApplicationsHasAReplica(t *testing.T) {
	t.Parallel()
	plain := fxtest.SQLite(t)
	replicated := fxtest.Postgres(t)
	replicated.DatabaseReplicaURL = dbfx.NewSecret(replicated.URL())
	for name, order := range map[string][]dbfx.Config{"second": {plain, replicated}, "first": {replicated, plain}} {
		t.Run(name, func(t *testing.T) {
			registry := prometheus.NewPedanticRegistry()
			for _, cfg := range order {
				fxtest.New(t, fxtest.Use(cfg), metrics.Module, fx.Provide(func() prometheus.Registerer { return registry }))
			}
			text := scrape(t, registry)
			for _, label := range []string{"default", "default#2"} {
				if !strings.Contains(text, `dbfx_up{db_name="`+label+`"} 1`) {
					t.Errorf("%s is not shown", label)
				}
			}
			if n := strings.Count(text, `:replica"`); n == 0 || strings.Count(text, "go_sql_open_connections{") != 3 {
				t.Errorf("want the family of one replica:\n%s", text)
			}
		})
	}
}

// TestMetrics_RefuseTwoDatabasesOfOneName: events name a database and no more, so
// that one Metrics would show the sessions of both as those of each.
func TestMetrics_RefuseTwoDatabasesOfOneName(t *testing.T) {
	t.Parallel()
	m, registry := metrics.New(), prometheus.NewPedanticRegistry()
	first, second := opened(t, m), opened(t, m)
	stop, err := m.Register(registry, first)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { stop() }()
	for _, list := range [][]*dbfx.Database{{second}, {first, second}} {
		if _, err := m.Register(prometheus.NewRegistry(), list...); err == nil || !strings.Contains(err.Error(), "metrics.New()") {
			t.Errorf("got %v, want what to do", err)
		}
	}
	if n := strings.Count(scrape(t, registry), "dbfx_up{"); n != 1 {
		t.Errorf("%d databases are shown", n)
	}
	other, err := m.Register(prometheus.NewRegistry(), first) // another registry shows the same figures
	if err != nil {
		t.Fatal(err)
	}
	stop()
	if _, err := m.Register(registry, second); err == nil {
		t.Error("the first is in the other registry yet")
	}
	other()
	if stop, err = m.Register(registry, second); err != nil {
		t.Errorf("the first is shown no more: %v", err)
	}
}

// TestMetrics_AStopUnregistersOnce: a second call would unregister the application
// that has taken the name meanwhile.
func TestMetrics_AStopUnregistersOnce(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewPedanticRegistry()
	register := func() (stop func()) {
		m := metrics.New()
		stop, err := m.Register(registry, opened(t, m))
		if err != nil {
			t.Fatal(err)
		}
		return stop
	}
	stop := register()
	stop()
	next := register()
	stop()
	if text := scrape(t, registry); !strings.Contains(text, `dbfx_up{db_name="default"}`) {
		t.Error("the second application is not shown any more")
	}
	next()
	if text := scrape(t, registry); strings.Contains(text, "dbfx_") {
		t.Errorf("after its stop:\n%s", text)
	}
}

// TestModule_ADBStatsCollectorOfTheSameName is one that the application had before.
func TestModule_ADBStatsCollectorOfTheSameName(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewPedanticRegistry()
	m := metrics.New()
	db := opened(t, m)
	theirs := collectors.NewDBStatsCollector(db.DB(), "default")
	if err := registry.Register(theirs); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Register(registry, db); err == nil || !strings.Contains(err.Error(), "DBStatsCollector") {
		t.Errorf("got %v, want what to do", err)
	}
	if text := scrape(t, registry); strings.Contains(text, "dbfx_") {
		t.Errorf("a part is registered:\n%s", text)
	}
	registry.Unregister(theirs)
	stop, err := m.Register(registry, db)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	if registry.Register(theirs) == nil {
		t.Error("the registry takes both")
	}
}

// TestMetrics_LabelsDoNotDependOnTheOrder: Fx gives a group in another order at
// each start.
func TestMetrics_LabelsDoNotDependOnTheOrder(t *testing.T) {
	t.Parallel()
	m := metrics.New()
	var databases []*dbfx.Database
	fxtest.New(t, dbfx.Named("default"), fxtest.UseNamed("default", fxtest.SQLite(t)),
		fx.Provide(fx.Annotate(func() dbfx.Observer { return m }, fx.ResultTags(`group:"dbfx.observers"`))),
		fx.Invoke(fx.Annotate(func(all []*dbfx.Database) { databases = all }, fx.ParamTags(`group:"dbfx.databases"`))))
	for _, d := range databases {
		for range 3 + 4*len(d.Name()) {
			if err := d.Sessions().Run(t.Context(), func(context.Context, *dbfx.Session) error { return nil }, dbfx.Name("counted")); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 2 {
		registry := prometheus.NewPedanticRegistry()
		stop, err := m.Register(registry, databases...)
		if err != nil {
			t.Fatal(err)
		}
		text := scrape(t, registry)
		for _, line := range []string{`{db_name="default",mode="run",session="counted"} 3`, `{db_name="default#2",mode="run",session="counted"} 31`} {
			if !strings.Contains(text, "dbfx_session_attempts_total"+line) {
				t.Errorf("missing %s:\n%s", line, text)
			}
		}
		stop()
		slices.Reverse(databases)
	}
}
