package metrics

import (
	"database/sql"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sergas/dbkit/dbfx"
)

// sqlMetric is one of the family that client_golang's DBStatsCollector has.
type sqlMetric struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	of   func(s sql.DBStats) float64
}

func (m sqlMetric) metric(s sql.DBStats) prometheus.Metric {
	return prometheus.MustNewConstMetric(m.desc, m.kind, m.of(s))
}

// sqlCount is how many of them there are.
const sqlCount = 9

// sqlMetrics is the family, with the names and helps of client_golang v1.25.0: a
// registry refuses two helps for one name.
func sqlMetrics(label string) []sqlMetric {
	metric := func(name, help string, kind prometheus.ValueType, of func(s sql.DBStats) float64) sqlMetric {
		return sqlMetric{desc(label, "go_sql_"+name, help), kind, of}
	}
	const gauge, counter = prometheus.GaugeValue, prometheus.CounterValue
	return []sqlMetric{
		metric("max_open_connections", "Maximum number of open connections to the database.", gauge,
			func(s sql.DBStats) float64 { return float64(s.MaxOpenConnections) }),
		metric("open_connections", "The number of established connections both in use and idle.", gauge,
			func(s sql.DBStats) float64 { return float64(s.OpenConnections) }),
		metric("in_use_connections", "The number of connections currently in use.", gauge,
			func(s sql.DBStats) float64 { return float64(s.InUse) }),
		metric("idle_connections", "The number of idle connections.", gauge,
			func(s sql.DBStats) float64 { return float64(s.Idle) }),
		metric("wait_count_total", "The total number of connections waited for.", counter,
			func(s sql.DBStats) float64 { return float64(s.WaitCount) }),
		metric("wait_duration_seconds_total", "The total time blocked waiting for a new connection.", counter,
			func(s sql.DBStats) float64 { return s.WaitDuration.Seconds() }),
		metric("max_idle_closed_total", "The total number of connections closed due to SetMaxIdleConns.", counter,
			func(s sql.DBStats) float64 { return float64(s.MaxIdleClosed) }),
		metric("max_idle_time_closed_total", "The total number of connections closed due to SetConnMaxIdleTime.", counter,
			func(s sql.DBStats) float64 { return float64(s.MaxIdleTimeClosed) }),
		metric("max_lifetime_closed_total", "The total number of connections closed due to SetConnMaxLifetime.", counter,
			func(s sql.DBStats) float64 { return float64(s.MaxLifetimeClosed) }),
	}
}

// sums adds up the handles of the database itself, and those of its replicas: nil
// without one.
func sums(handles []dbfx.HandleStats) (main sql.DBStats, replica *sql.DBStats) {
	for _, h := range handles {
		to := &main
		if h.Role == string(dbfx.RoleReplica) {
			if replica == nil {
				replica = &sql.DBStats{}
			}
			to = replica
		}
		to.MaxOpenConnections += h.MaxOpenConnections
		to.OpenConnections += h.OpenConnections
		to.InUse += h.InUse
		to.Idle += h.Idle
		to.WaitCount += h.WaitCount
		to.WaitDuration += h.WaitDuration
		to.MaxIdleClosed += h.MaxIdleClosed
		to.MaxIdleTimeClosed += h.MaxIdleTimeClosed
		to.MaxLifetimeClosed += h.MaxLifetimeClosed
	}
	return main, replica
}
