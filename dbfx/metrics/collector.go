package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sergas/dbkit/dbfx"
)

// desc is a metric of a database, named once.
func desc(label, name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, prometheus.Labels{"db_name": label})
}

// collector shows one database.
type collector struct {
	database *dbfx.Database
	vectors  []prometheus.Collector // what the observer counts
	sql      []sqlMetric            // of the database, then of its replicas
	own      map[string]*prometheus.Desc
}

// ownMetrics are the names and helps of the figures that dbfx has beside
// sql.DBStats, with their labels.
var ownMetrics = []struct {
	name, help string
	labels     []string
}{
	{"dbfx_up", "Whether the database answered when it was last asked: 1 or 0, also before the start is over.", nil},
	{"dbfx_last_answer_timestamp_seconds", "When the database last answered the start or a check: how old dbfx_up is while it is 1.", nil},
	{"dbfx_sessions_running", "Sessions that have a connection now.", nil},
	{"dbfx_sessions_waiting", "Sessions that wait for a connection now.", nil},
	{"dbfx_session_oldest_seconds", "How long the oldest running session has had its connection.", nil},
	{"dbfx_sessions_total", "Sessions that have ended, by outcome; unknown is a commit that was not answered.", []string{"outcome"}},
	{"dbfx_session_retries_total", "Attempts of sessions after their first.", nil},
	{"dbfx_checkout_timeouts_total", "Waits for a connection that POOL_TIMEOUT ended.", nil},
	{"dbfx_connection_wait_seconds", "How long sessions waited for a connection, also in vain.", nil},
	{"dbfx_connection_use_seconds", "How long a session's attempt had its connection.", nil},
	{"dbfx_connections", "Connections, by what they are for and whether they are in use.", []string{"role", "state"}},
	{"dbfx_connections_max", "The most connections that there may be; 0 is no limit.", []string{"role"}},
	{"dbfx_connections_pending", "Who waits for a connection now.", []string{"role"}},
	{"dbfx_replica_lag_seconds", "How far the replica was behind when it was last asked.", nil},
	{"dbfx_replica_away", "Whether the primary stands in for the replicas: 1 or 0.", nil},
	{"dbfx_sqlite_wal_bytes", "The size of SQLite's write-ahead log.", nil},
	{"dbfx_sqlite_wal_bound_bytes", "The size at which the log is checkpointed; 0 is never.", nil},
	{"dbfx_sqlite_wal_pending_bytes", "How much of the log is not in the database yet.", nil},
	{"dbfx_sqlite_checkpoint_age_seconds", "How long ago a checkpoint last copied all of the log.", nil},
	{"dbfx_sqlite_checkpoints_total", "Checkpoints that ran; blocked are those that a reader kept from finishing.", []string{"result"}},
	{"dbfx_sqlite_writers_waiting", "Who waits for the right to write.", nil},
	{"dbfx_sqlite_write_held_seconds", "How long the session that writes has had the right to.", nil},
	{"dbfx_check_status", "What a check of readiness said last: 1 pass, 0.5 warn, 0 fail.", []string{"check"}},
	{"dbfx_check_figure", "A number that a check gave.", []string{"check", "figure"}},
}

func newCollector(d *dbfx.Database, s *sessions, label string) *collector {
	c := &collector{database: d, sql: sqlMetrics(label), own: map[string]*prometheus.Desc{}}
	c.sql = append(c.sql, sqlMetrics(label+":replica")...)
	for _, v := range []prometheus.Collector{s.duration, s.attempts, s.events} {
		c.vectors = append(c.vectors, prometheus.WrapCollectorWith(prometheus.Labels{"db_name": label}, v))
	}
	for _, m := range ownMetrics {
		c.own[m.name] = desc(label, m.name, m.help, m.labels...)
	}
	return c
}

// Describe implements prometheus.Collector. It has the replicas also where there are
// none: a registry says of two collectors that they are the same where they describe
// the same, and that is how the name of another application is told.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range c.sql {
		ch <- m.desc
	}
	for _, d := range c.own {
		ch <- d
	}
	for _, v := range c.vectors {
		v.Describe(ch)
	}
}

// Collect implements prometheus.Collector. It asks memory alone, and so answers
// while the database does not.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	stats := c.database.Sessions().Stats()
	main, replica := sums(stats.Handles)
	for _, m := range c.sql[:sqlCount] {
		ch <- m.metric(main)
	}
	if replica != nil {
		for _, m := range c.sql[sqlCount:] {
			ch <- m.metric(*replica)
		}
	}
	for _, v := range c.vectors {
		v.Collect(ch)
	}
	e := emitter{c, ch}
	e.session(stats)
	for _, h := range stats.Handles {
		e.handle(h)
	}
	if stats.WAL != nil {
		e.wal(*stats.WAL)
	}
	if stats.Write != nil {
		e.gauge("dbfx_sqlite_writers_waiting", float64(stats.Write.Waiting))
		e.gauge("dbfx_sqlite_write_held_seconds", stats.Write.Held.Seconds())
	}
	for _, check := range c.database.Health().Last().Checks {
		e.gauge("dbfx_check_status", statusValue(check.Status), check.Name)
		for name, value := range check.Figures {
			e.gauge("dbfx_check_figure", value, check.Name, name)
		}
	}
}

// emitter sends the figures of one scrape.
type emitter struct {
	*collector
	ch chan<- prometheus.Metric
}

func (e emitter) gauge(name string, value float64, labels ...string) {
	e.ch <- prometheus.MustNewConstMetric(e.own[name], prometheus.GaugeValue, value, labels...)
}

func (e emitter) counter(name string, value int64, labels ...string) {
	e.ch <- prometheus.MustNewConstMetric(e.own[name], prometheus.CounterValue, float64(value), labels...)
}

func (e emitter) histogram(name string, d dbfx.Distribution) {
	buckets, seen := make(map[float64]uint64, len(d.Bounds)), int64(0)
	for i, bound := range d.Bounds {
		seen += d.Counts[i]
		buckets[bound.Seconds()] = uint64(seen)
	}
	e.ch <- prometheus.MustNewConstHistogram(e.own[name], uint64(d.Count), d.Sum.Seconds(), buckets)
}

func (e emitter) session(s dbfx.Stats) {
	health := e.database.Health()
	e.gauge("dbfx_up", oneIf(health.State() != dbfx.StateStarting && health.Last().State != dbfx.StateDown))
	if at := health.Answered(); !at.IsZero() {
		e.gauge("dbfx_last_answer_timestamp_seconds", float64(at.UnixMilli())/1000)
	}
	e.gauge("dbfx_sessions_running", float64(s.Running))
	e.gauge("dbfx_sessions_waiting", float64(s.Waiting))
	e.gauge("dbfx_session_oldest_seconds", s.Oldest.Held.Seconds())
	e.counter("dbfx_sessions_total", s.Committed, string(dbfx.OutcomeCommitted))
	e.counter("dbfx_sessions_total", s.Read, string(dbfx.OutcomeRead))
	e.counter("dbfx_sessions_total", s.RolledBack, string(dbfx.OutcomeRolledBack))
	e.counter("dbfx_sessions_total", s.Unknown, string(dbfx.OutcomeUnknown))
	e.counter("dbfx_session_retries_total", s.Retries)
	e.counter("dbfx_checkout_timeouts_total", s.Timeouts)
	e.histogram("dbfx_connection_wait_seconds", s.Waits)
	e.histogram("dbfx_connection_use_seconds", s.Uses)
}

func (e emitter) handle(h dbfx.HandleStats) {
	e.gauge("dbfx_connections", float64(h.InUse), h.Role, "used")
	e.gauge("dbfx_connections", float64(h.Idle), h.Role, "idle")
	e.gauge("dbfx_connections_max", float64(h.MaxOpenConnections), h.Role)
	e.gauge("dbfx_connections_pending", float64(h.Waiting), h.Role)
	if h.Role == string(dbfx.RoleReplica) {
		e.gauge("dbfx_replica_lag_seconds", h.Lag.Seconds())
		e.gauge("dbfx_replica_away", oneIf(h.Away))
	}
}

func (e emitter) wal(w dbfx.WALStats) {
	e.gauge("dbfx_sqlite_wal_bytes", float64(w.Bytes))
	e.gauge("dbfx_sqlite_wal_bound_bytes", float64(w.Bound))
	e.gauge("dbfx_sqlite_wal_pending_bytes", float64(w.Pending))
	if !w.Checkpointed.IsZero() {
		e.gauge("dbfx_sqlite_checkpoint_age_seconds", time.Since(w.Checkpointed).Seconds())
	}
	e.counter("dbfx_sqlite_checkpoints_total", w.Checkpoints-w.Blocked, "complete")
	e.counter("dbfx_sqlite_checkpoints_total", w.Blocked, "blocked")
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func statusValue(s dbfx.Status) float64 {
	switch s {
	case dbfx.Pass:
		return 1
	case dbfx.Warn:
		return 0.5
	}
	return 0
}
