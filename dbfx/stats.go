package dbfx

import (
	"database/sql"
	"time"

	"github.com/sergas/dbkit/dbfx/internal/engine"
)

// Stats are figures of one database, since its start and now. They count the
// sessions' queue, which sql.DBStats does not know.
type Stats struct {
	Database string // the name given to Named, "" for the default
	Dialect  Dialect

	Running int // sessions that have a connection
	Waiting int // sessions that wait for one
	// Oldest is the session that has had its connection for the longest time; its
	// Since is zero where none runs.
	Oldest RunningSession
	// LongestWait is that of the session which has waited for the longest time of those
	// that wait now.
	LongestWait time.Duration

	Waits    Distribution // of all that waited for a connection, also in vain
	Uses     Distribution // how long an attempt had its connection
	Timeouts int64        // waits that POOL_TIMEOUT ended
	Retries  int64        // attempts after the first

	Committed, Read, RolledBack, Unknown int64 // sessions by their outcome

	// LastCheckout is when a session last got a connection, zero before the first.
	LastCheckout time.Time

	// Handles are the main handle and, where there are any, the readers or replicas;
	// for SQLite its real connections: the writer and the readers.
	Handles []HandleStats

	// WAL and Write are SQLite's, nil elsewhere.
	WAL   *WALStats
	Write *WriteStats
}

// HandleStats are the connections of one kind.
type HandleStats struct {
	Role string // main, replica, reader, writer
	// DBStats are those of the connections. WaitCount and WaitDuration include the
	// queue in front of them.
	sql.DBStats
	Waiting int // who waits for a connection now
	// Lag is how far the replica was behind when it was last asked, which
	// DATABASE_REPLICA_MAX_LAG does; Away says that the primary stands in for it.
	Lag  time.Duration
	Away bool
}

// WALStats are SQLite's write-ahead log.
type WALStats struct {
	Bytes        int64
	Bound        int64 // SQLITE_WAL_MB; 0 is none
	Pending      int64 // bytes that are not in the database yet
	Checkpointed time.Time
	Checkpoints  int64
	Blocked      int64 // checkpoints that a reader kept from finishing
}

// WriteStats are the queue of those who write to SQLite.
type WriteStats struct {
	Holder  string // the session that writes, "" when none does
	Held    time.Duration
	Waiting int
}

// Stats returns the figures of the database. It asks memory alone and costs a few
// microseconds.
func (s *Sessions) Stats() Stats {
	m := s.meter
	stats := Stats{
		Database: s.name, Dialect: Dialect(s.engine.Dialect()),
		Waits: m.waits.read(), Uses: m.uses.read(),
		Timeouts: m.timeouts.Load(), Retries: m.retries.Load(),
		Committed: m.outcomes.committed.Load(), Read: m.outcomes.read.Load(),
		RolledBack: m.outcomes.rolledBack.Load(), Unknown: m.outcomes.unknown.Load(),
		LastCheckout: timeOf(m.lastCheckout.Load()),
	}
	for _, r := range s.running() {
		switch {
		case r.Waiting:
			stats.Waiting++
			stats.LongestWait = max(stats.LongestWait, r.Wait)
		case r.Held > 0:
			stats.Running++
			if r.Held > stats.Oldest.Held {
				stats.Oldest = r
			}
		}
	}
	stats.Oldest.describe()
	s.addHandles(&stats)
	return stats
}

// addHandles adds what the handles and the engine say.
func (s *Sessions) addHandles(stats *Stats) {
	var f engine.Figures
	if figured, ok := s.engine.(engine.Figured); ok {
		f = figured.Figures()
	}
	for _, h := range f.Handles {
		stats.Handles = append(stats.Handles, HandleStats{
			Role: h.Role, Waiting: h.Waiting,
			DBStats: sql.DBStats{
				MaxOpenConnections: h.MaxOpen, OpenConnections: h.Open, InUse: h.InUse, Idle: h.Open - h.InUse,
				WaitCount: h.Waits, WaitDuration: h.Waited,
			},
		})
	}
	if len(f.Handles) == 0 {
		stats.Handles = append(stats.Handles, s.write.stats())
		if s.read.db != s.write.db {
			reader := s.read.stats()
			if s.replica {
				reader.Lag, reader.Away = time.Duration(s.meter.lag.Load()), s.backAt.Load() != 0
			}
			stats.Handles = append(stats.Handles, reader)
		}
	}
	if f.WAL != nil {
		wal := WALStats(*f.WAL)
		stats.WAL = &wal
	}
	if f.Write != nil {
		write := WriteStats(*f.Write)
		stats.Write = &write
	}
}

// stats are those of the handle, with the queue in front of it.
func (p pool) stats() HandleStats {
	h := HandleStats{Role: string(p.role), DBStats: p.db.Stats()}
	waiting, waits, waited := p.gate.Waits()
	h.Waiting = waiting
	h.WaitCount += waits
	h.WaitDuration += waited
	return h
}

func timeOf(nanos int64) time.Time {
	if nanos == 0 {
		return time.Time{}
	}
	return time.Unix(0, nanos)
}
