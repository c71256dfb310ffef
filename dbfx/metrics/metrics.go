// Package metrics shows the databases of dbfx to Prometheus.
//
// With Fx, metrics.Module beside dbfx.Module is all: it registers every database
// of the graph with the graph's prometheus.Registerer, or the default one, and
// unregisters it on stop. Without Fx:
//
//	m := metrics.New()
//	db, err := dbfx.Open(ctx, cfg, dbfx.WithObserver(m))
//	stop, err := m.Register(prometheus.DefaultRegisterer, db)
//
// The family go_sql_* is named as client_golang's DBStatsCollector names it, so
// that its dashboards work; its waits count the queue of the sessions, which
// sql.DBStats does not know. It stands for that collector: leave that out, or
// give it another db_name. The family dbfx_* has what a *sql.DB cannot tell.
// Labels hold names of databases and sessions, and no text of a statement.
package metrics

import (
	"context"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"github.com/sergas/dbkit/dbfx"
)

// Metrics is an observer that counts sessions by their names, and makes the
// collectors. It is safe for concurrent use.
type Metrics struct {
	mu        sync.RWMutex
	databases map[string]*sessions // by the name given to Named
	holders   map[string]holder
}

var _ dbfx.EventObserver = (*Metrics)(nil)

// New makes the Metrics of one application.
func New() *Metrics { return &Metrics{databases: map[string]*sessions{}, holders: map[string]holder{}} }

// most is how many names of sessions a database has series for. Names that a
// program makes up while it runs all count as "other" from there on.
const (
	most    = 200
	other   = "other"
	unnamed = "unnamed"
)

// sessions are the series of one database that an observer must count.
type sessions struct {
	duration *prometheus.HistogramVec
	attempts *prometheus.CounterVec
	events   *prometheus.CounterVec

	mu     sync.RWMutex
	series map[key]series // what With would look up each time
	names  map[string]bool
}

// series are those of one name, mode and outcome.
type series struct {
	duration prometheus.Observer
	attempts prometheus.Counter
}

type key struct {
	session  string
	readOnly bool
	outcome  dbfx.Outcome
}

// of returns the series of a database.
func (m *Metrics) of(database string) *sessions {
	m.mu.RLock()
	s := m.databases[database]
	m.mu.RUnlock()
	if s != nil {
		return s
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if s = m.databases[database]; s == nil {
		s = newSessions()
		m.databases[database] = s
	}
	return s
}

func newSessions() *sessions {
	buckets := make([]float64, 0, len(dbfx.Bounds()))
	for _, b := range dbfx.Bounds() {
		buckets = append(buckets, b.Seconds())
	}
	return &sessions{
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "dbfx_session_duration_seconds", Buckets: buckets,
			Help: "How long a Run or View took, with its waits and all its attempts.",
		}, []string{"session", "mode", "outcome"}),
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dbfx_session_attempts_total",
			Help: "The attempts of sessions: more than there were sessions where Retry repeats.",
		}, []string{"session", "mode"}),
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dbfx_events_total",
			Help: "What happened to the database, by kind: down, up, saturated and so on, one a state and not one a request.",
		}, []string{"event"}),
		series: map[key]series{},
		names:  map[string]bool{},
	}
}

// ObserveStatement implements dbfx.Observer. Statements have no series: their
// texts are without bound.
func (m *Metrics) ObserveStatement(context.Context, dbfx.StatementEvent) {}

// WantStatements implements dbfx.StatementChooser: none.
func (m *Metrics) WantStatements() bool { return false }

// ObserveEvent implements dbfx.EventObserver.
func (m *Metrics) ObserveEvent(_ context.Context, e dbfx.Event) {
	m.of(e.Database).events.WithLabelValues(string(e.Kind)).Inc()
}

// ObserveSession implements dbfx.Observer. An observation carries the trace that
// it belongs to, where there is one that is sampled, as an exemplar.
func (m *Metrics) ObserveSession(ctx context.Context, e dbfx.SessionEvent) {
	found := m.of(e.Database).find(e)
	found.attempts.Add(float64(e.Attempts))
	span := trace.SpanContextFromContext(ctx)
	if with, ok := found.duration.(prometheus.ExemplarObserver); ok && span.IsSampled() {
		with.ObserveWithExemplar(e.Duration.Seconds(), prometheus.Labels{"trace_id": span.TraceID().String()})
		return
	}
	found.duration.Observe(e.Duration.Seconds())
}

// find returns the series of a session.
func (s *sessions) find(e dbfx.SessionEvent) series {
	if !utf8.ValidString(e.Name) { // client_golang panics
		e.Name = strings.ToValidUTF8(e.Name, "\uFFFD")
	}
	k := key{e.Name, e.ReadOnly, e.Outcome}
	s.mu.RLock()
	found, ok := s.series[k]
	s.mu.RUnlock()
	if ok {
		return found
	}
	mode := "run"
	if e.ReadOnly {
		mode = "view"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	name := s.label(e.Name)
	if name == "" {
		name = e.Name
		s.names[name] = true
	}
	found = series{s.duration.WithLabelValues(name, mode, string(e.Outcome)), s.attempts.WithLabelValues(name, mode)}
	if name != other {
		s.series[k] = found
	}
	return found
}

// label is what stands for a session's name, "" for a new one that there is
// room for.
func (s *sessions) label(name string) string {
	switch {
	case name == "":
		return unnamed
	case s.names[name]:
		return name
	case len(s.names) >= most:
		return other
	}
	return ""
}
