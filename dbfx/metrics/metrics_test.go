package metrics_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/fx"
	"go.uber.org/goleak"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/dbfx/metrics"
	"github.com/sergas/dbkit/fxtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errBoom = errors.New("boom")

// shown is a started application whose metrics are in a registry of its own.
func shown(t *testing.T, opts ...fx.Option) (*fxtest.App, *prometheus.Registry) {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	app := fxtest.New(t, append(opts, metrics.Module, fx.Provide(func() prometheus.Registerer { return registry }))...)
	return app, registry
}

// work runs sessions of every kind.
func work(t *testing.T, app *fxtest.App) {
	t.Helper()
	ok := func(ctx context.Context, tx *dbfx.Session) error {
		var n int
		return tx.QueryRowContext(ctx, "select 1").Scan(&n)
	}
	for range 3 {
		if err := app.Sessions.Run(t.Context(), ok, dbfx.Name("write")); err != nil {
			t.Fatal(err)
		}
	}
	if err := app.Sessions.View(t.Context(), ok, dbfx.Name("read")); err != nil {
		t.Fatal(err)
	}
	_ = app.Sessions.Run(t.Context(), func(context.Context, *dbfx.Session) error { return errBoom },
		dbfx.Retry(dbfx.RetryPolicy{MaxAttempts: 2, Retryable: func(error) bool { return true }}))
}

// scrape returns the text that Prometheus would read.
func scrape(t *testing.T, g prometheus.Gatherer) string {
	t.Helper()
	w := httptest.NewRecorder()
	promhttp.HandlerFor(g, promhttp.HandlerOpts{EnableOpenMetrics: true, ErrorHandling: promhttp.HTTPErrorOnError}).
		ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil))
	if w.Code != 200 {
		t.Fatal(w.Body.String())
	}
	return w.Body.String()
}

func TestModule_ShowsWhatHappened(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		app, registry := shown(t, fxtest.Use(cfg))
		before := app.Sessions.Stats().Committed
		work(t, app)
		text := scrape(t, registry)
		for _, line := range []string{
			`dbfx_up{db_name="default"} 1`,
			`dbfx_session_duration_seconds_count{db_name="default",mode="run",outcome="committed",session="write"} 3`,
			`dbfx_session_duration_seconds_count{db_name="default",mode="view",outcome="read",session="read"} 1`,
			`dbfx_session_duration_seconds_count{db_name="default",mode="run",outcome="rolled_back",session="unnamed"} 1`,
			`dbfx_session_attempts_total{db_name="default",mode="run",session="unnamed"} 2`,
			`dbfx_session_retries_total{db_name="default"} 1`,
			fmt.Sprintf(`dbfx_sessions_total{db_name="default",outcome="committed"} %d`, before+3),
			`dbfx_events_total{db_name="default",event="started"} 1`,
			`dbfx_events_total{db_name="default",event="retries_spent"} 1`,
			`dbfx_sessions_waiting{db_name="default"} 0`,
			`dbfx_checkout_timeouts_total{db_name="default"} 0`,
			`go_sql_in_use_connections{db_name="default"} `,
			`dbfx_connection_wait_seconds_bucket{db_name="default",le="1e-05"} `,
			`dbfx_connection_use_seconds_bucket{db_name="default",le="10"} `,
		} {
			if !strings.Contains(text, line) {
				t.Errorf("missing: %s", line)
			}
		}
		if cfg.Dialect() == dbfx.SQLite && !strings.Contains(text, `dbfx_sqlite_wal_bytes{db_name="default"}`) {
			t.Error("the log of SQLite is not shown")
		}
		if t.Failed() {
			t.Log(text)
		}
	})
}

func TestModule_PassesTheLint(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		app, registry := shown(t, fxtest.Use(cfg))
		work(t, app)
		problems, err := testutil.GatherAndLint(registry)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range problems {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	})
}

// TestModule_UpIsZeroBeforeTheStart: a scrape may come early.
func TestModule_UpIsZeroBeforeTheStart(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewPedanticRegistry()
	early := ""
	scrapes := fx.Provide(fx.Annotate(func() dbfx.Starter {
		return dbfx.Starter{Run: func(context.Context, *dbfx.Database) error {
			early = scrape(t, registry)
			return nil
		}}
	}, fx.ResultTags(`group:"dbfx.starters"`)))
	var databases []*dbfx.Database
	m := metrics.New()
	app := fxtest.New(t, scrapes, fx.Provide(fx.Annotate(func() dbfx.Observer { return m }, fx.ResultTags(`group:"dbfx.observers"`))),
		fx.Invoke(fx.Annotate(func(all []*dbfx.Database) {
			databases = all
			if _, err := m.Register(registry, all...); err != nil {
				t.Error(err)
			}
		}, fx.ParamTags(`group:"dbfx.databases"`))))
	if !strings.Contains(early, `dbfx_up{db_name="default"} 0`) || strings.Contains(early, "dbfx_last_answer") {
		t.Errorf("before the start is over:\n%s", early)
	}
	text := scrape(t, registry)
	if !strings.Contains(text, `dbfx_up{db_name="default"} 1`) || !strings.Contains(text, "dbfx_last_answer_timestamp_seconds{") {
		t.Errorf("after it:\n%s", text)
	}
	start := databases[0].Health().Answered()
	if app.Health.Check(t.Context()); !databases[0].Health().Answered().After(start) {
		t.Error("a check has answered since")
	}
}

// TestModule_NamesTheFamilyOfDBStatsCollector: a registry that has both would
// refuse a name with another help or other labels.
func TestModule_NamesTheFamilyOfDBStatsCollector(t *testing.T) {
	t.Parallel()
	app, registry := shown(t)
	other := prometheus.NewRegistry()
	for _, r := range []prometheus.Registerer{registry, other} {
		if err := r.Register(collectors.NewDBStatsCollector(app.DB, "theirs")); err != nil {
			t.Fatal(err)
		}
	}
	theirs, err := other.Gather()
	if err != nil {
		t.Fatal(err)
	}
	text := scrape(t, registry)
	if len(theirs) != 9 {
		t.Errorf("client_golang has %d of the family now, want 9", len(theirs))
	}
	for _, family := range theirs {
		name := strings.TrimSuffix(family.GetName(), "_total")
		if !strings.Contains(text, name+`_total{db_name="default"}`) && !strings.Contains(text, name+`{db_name="default"}`) {
			t.Error("missing:", family.GetName())
		}
	}
}

func TestModule_TwoDatabasesTwoApplicationsOneRegistry(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	start := func() (stop func(), app *fx.App) {
		app = fx.New(fx.NopLogger, dbfx.Module, dbfx.Named("reports"), metrics.Module, fx.Provide(func() prometheus.Registerer { return registry }),
			fx.Replace(fxtest.SQLite(t)), fxtest.UseNamed("reports", fxtest.SQLite(t)))
		if err := app.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		return func() {
			if err := app.Stop(context.Background()); err != nil {
				t.Error(err)
			}
		}, app
	}
	first, _ := start()
	second, _ := start()
	text := scrape(t, registry)
	for _, name := range []string{"default", "default#2", "reports", "reports#2"} {
		if !strings.Contains(text, fmt.Sprintf("dbfx_up{db_name=%q} 1", name)) {
			t.Errorf("%s is not shown", name)
		}
	}
	first()
	if text := scrape(t, registry); strings.Contains(text, `db_name="default"`) || !strings.Contains(text, `db_name="default#2"`) {
		t.Error("the first application has stopped, and the second has not")
	}
	second()
	if text := scrape(t, registry); strings.Contains(text, "dbfx_") || strings.Contains(text, "go_sql_") {
		t.Errorf("what has stopped is still shown:\n%s", text)
	}
}

func TestMetrics_BoundTheNamesOfSessions(t *testing.T) {
	t.Parallel()
	m, registry := metrics.New(), prometheus.NewPedanticRegistry()

	for i := range 1000 {
		m.ObserveSession(t.Context(), dbfx.SessionEvent{Name: fmt.Sprint("user ", i), Attempts: 1, Outcome: dbfx.OutcomeCommitted})
	}
	db, err := dbfx.Open(t.Context(), fxtest.SQLite(t), dbfx.WithObserver(m))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close(context.Background()) }()
	stop, err := m.Register(registry, db)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	text := scrape(t, registry)
	if n := strings.Count(text, "dbfx_session_duration_seconds_count{"); n > 205 {
		t.Errorf("%d series for a thousand names", n)
	}
	if !strings.Contains(text, `session="other"} 800`) {
		t.Error("the names above the bound are not counted together")
	}
}

func TestMetrics_ObservationsCarryTheirTrace(t *testing.T) {
	t.Parallel()
	m, registry := metrics.New(), prometheus.NewPedanticRegistry()
	db, err := dbfx.Open(t.Context(), fxtest.SQLite(t), dbfx.WithObserver(m))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close(context.Background()) }()
	stop, err := m.Register(registry, db)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	span := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled})
	ctx := trace.ContextWithSpanContext(t.Context(), span)
	if err := db.Sessions().Run(ctx, func(context.Context, *dbfx.Session) error { return nil }); err != nil {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, metric := range f.GetMetric() {
			for _, bucket := range metric.GetHistogram().GetBucket() {
				if bucket.GetExemplar() != nil && bucket.GetExemplar().GetLabel()[0].GetValue() == span.TraceID().String() {
					return
				}
			}
		}
	}
	t.Error("no exemplar has the trace")
}

// TestExamples_NameWhatIsExported reads the dashboard and the alert rules.
func TestExamples_NameWhatIsExported(t *testing.T) {
	t.Parallel()
	pg := fxtest.Postgres(t)
	pg.DatabaseReplicaURL = dbfx.NewSecret(pg.URL())
	check := fx.Provide(fx.Annotate(func() dbfx.Check {
		return dbfx.Check{Name: "mine", Run: func(context.Context) dbfx.CheckResult {
			return dbfx.CheckResult{Status: dbfx.Pass, Figures: map[string]float64{"depth": 1}}
		}}
	}, fx.ResultTags(`group:"dbfx.checks"`)))
	var names []string
	for _, cfg := range []dbfx.Config{fxtest.SQLite(t), pg} {
		app, registry := shown(t, fxtest.Use(cfg), check)
		work(t, app)
		app.Health.Check(t.Context())
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			names = append(names, f.GetName(), f.GetName()+"_bucket", f.GetName()+"_count", f.GetName()+"_sum")
		}
	}
	// A checkpoint's age exists only after the first.
	names = append(names, "dbfx_sqlite_checkpoint_age_seconds")
	metric := regexp.MustCompile(`\b(?:dbfx|go_sql)_[a-z0-9_]+`)
	for _, file := range []string{"../../example/grafana/dbfx.json", "../../example/prometheus/alerts.yml"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(file, ".json") && !json.Valid(text) {
			t.Errorf("%s is not JSON", file)
		}
		found := metric.FindAllString(string(text), -1)
		if len(found) < 10 {
			t.Errorf("%s names %d metrics", file, len(found))
		}
		for _, name := range found {
			if !slices.Contains(names, name) {
				t.Errorf("%s names %s, which is not exported", file, name)
			}
		}
	}
}
