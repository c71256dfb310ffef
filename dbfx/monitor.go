package dbfx

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// monitor looks once a second at what no single session can tell: who waits for
// long, who runs for long, how large the log is, whether a database that was down
// is back. It asks memory; it pings only a database that failed a session or is
// down, and once after the start where there are checks, so that a quiet service leaves a serverless database asleep.
type monitor struct {
	database *Database
	poke     chan struct{} // look now
	stop     chan struct{}
	wg       sync.WaitGroup

	refused atomic.Pointer[refusal] // of writes; nil while there is none
	mu      sync.Mutex              // of who reads refused to tell it

	// These are the states as the log has told them.
	outage  outage // of the database
	writes  outage // of writes alone
	standIn outage // of the replicas

	// Of the goroutine alone.
	fullSince, stuckSince time.Time
	relievedAt            time.Time
	lastFull              time.Time
	seenTimeouts          int64 // at the last look
	timeouts              int64 // when it became full
	largeWAL              bool
	suspect               time.Time // since when the database may be down; zero while it may not
}

const (
	lookInterval = time.Second
	longRun      = 30 * time.Second // of a session, before the log has it
	longWait     = time.Second      // of a session, before the pool counts as full
	// relievedAfter is how long no session has waited for long before that is over:
	// those that time out together wait for a short time when they come again.
	relievedAfter = 2 * time.Second
)

func newMonitor(d *Database) *monitor {
	return &monitor{
		database: d, poke: make(chan struct{}, 1), stop: make(chan struct{}),
		outage: outage{
			begin: Event{Kind: EventDown, Text: "the database does not answer"},
			end:   Event{Kind: EventUp, Text: "the database answers again"},
		},
		writes: outage{
			begin: Event{Kind: EventNoWrites, Text: noWrites},
			end:   Event{Kind: EventWritesAgain, Text: "the database takes writes again"},
		},
		standIn: outage{
			begin: Event{Kind: EventStandIn, Text: "the primary stands in for the replicas"},
			end:   Event{Kind: EventReplicaBack, Text: "Views read from the replicas again"},
		},
	}
}

func (m *monitor) start() {
	m.wg.Go(func() {
		tick := time.NewTicker(lookInterval)
		defer tick.Stop()
		for {
			select {
			case <-m.stop:
				return
			case <-m.poke:
				m.suspect = time.Now()
			case <-tick.C:
			}
			m.look(time.Now())
		}
	})
}

// endPatience is how long the stop waits for an observer that the monitor tells
// something just now. It must not hold up the sessions' drain.
const endPatience = time.Second

// end waits for the goroutine, up to ctx. It is called once.
func (m *monitor) end(ctx context.Context) {
	close(m.stop)
	ended := make(chan struct{})
	go func() {
		m.wg.Wait()
		close(ended)
	}()
	ctx, cancel := context.WithTimeout(ctx, endPatience)
	defer cancel()
	wait(ctx, ended)
}

// alarm makes the monitor look now: a session could not get a connection.
func (m *monitor) alarm() {
	select {
	case m.poke <- struct{}{}:
	default: // it will
	}
}

func (m *monitor) look(now time.Time) {
	d := m.database
	running := d.sessions.running()
	m.lookAtWaits(now, running)
	m.lookAtLong(running)
	m.lookAtWAL()
	m.lookAtReplica(now)
	m.lookAtWrites(now)
	first := len(d.checks) > 0 && d.health.Last().Time.IsZero() // so that the page and the metrics know what the checks say
	if first || !m.suspect.IsZero() || m.outage.isOut() || m.refused.Load() != nil {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		defer context.AfterFunc(d.active.closing, cancel)()
		if report := d.health.Check(ctx); report.Time.After(m.suspect) { // it tells saw
			m.suspect = time.Time{}
		}
	}
}

// patience is how long a session may wait before the pool counts as full.
func (m *monitor) patience() time.Duration {
	if t := m.database.cfg.PoolTimeout; t > 0 {
		return min(longWait, t/2)
	}
	return longWait
}

// lookAtWaits tells when sessions begin to wait for long, and when none does.
func (m *monitor) lookAtWaits(now time.Time, running []RunningSession) {
	d := m.database
	stats := d.sessions.meter
	var waiting int
	var longest time.Duration
	for _, r := range running {
		if r.Waiting && !r.trying {
			waiting++
			longest = max(longest, r.now)
		}
	}
	before, timeouts := m.seenTimeouts, stats.timeouts.Load()
	full := longest >= m.patience() || timeouts > before
	m.seenTimeouts = timeouts
	if full {
		m.lastFull = now
	}
	switch {
	case full && m.fullSince.IsZero() && !m.outage.isOut():
		m.fullSince, m.timeouts = now.Add(-longest), before
		e := Event{Kind: EventSaturated, Text: "sessions wait for a connection", Waiting: waiting, Wait: longest}
		if holder := oldest(running); holder != nil {
			e.name(holder)
			e.Text += "; the longest holder is named here"
		}
		d.events.add(e)
	case !m.fullSince.IsZero() && now.Sub(m.lastFull) >= m.relief():
		d.events.add(Event{
			Kind: EventRelieved, Duration: now.Sub(m.fullSince),
			Text: fmt.Sprintf("no session waits for long any more; %d timed out", timeouts-m.timeouts),
		})
		m.fullSince, m.stuckSince, m.relievedAt = time.Time{}, time.Time{}, now
	}
	if d.sessions.meter.stuck(now, d.sessions.poolTimeout) && m.stuckSince.IsZero() {
		m.stuckSince = now
		e := Event{Kind: EventStuck, Text: "no session got a connection for several POOL_TIMEOUTs: a deadlock, a holder that never ends, or a server that does not answer", Waiting: waiting}
		if holder := oldest(running); holder != nil {
			e.name(holder)
		}
		d.events.add(e)
	}
}

// relief is how long no session must have waited for long before that is over. Where
// it had been over a short while before, it takes more: load that comes in waves is one
// state, and two lines.
func (m *monitor) relief() time.Duration {
	if !m.relievedAt.IsZero() && m.fullSince.Sub(m.relievedAt) < flapping {
		return steady
	}
	return relievedAfter
}

// name says which session the event is about.
func (e *Event) name(r *RunningSession) {
	r.describe()
	e.Session, e.Caller, e.Statement, e.Duration = r.Name, r.Caller, r.Statement, r.Held
}

// oldest returns the session that has had its connection for the longest time.
func oldest(running []RunningSession) *RunningSession {
	var found *RunningSession
	for i := range running {
		if r := &running[i]; !r.Waiting && r.Held > 0 && (found == nil || r.Held > found.Held) {
			found = r
		}
	}
	return found
}

// lookAtLong tells each session that runs for long, once.
func (m *monitor) lookAtLong(running []RunningSession) {
	for _, r := range running {
		if r.Held < longRun || r.live.long {
			continue
		}
		r.live.long = true
		e := Event{
			Kind: EventLongSession, Text: "a session has been running for a long time", Wait: r.Wait, Attempts: r.Attempt, Rows: r.Rows,
		}
		e.name(&r)
		m.database.events.limited(r.Name, e)
	}
}

// lookAtWAL tells when SQLite's log is twice its bound, and when it is below it.
func (m *monitor) lookAtWAL() {
	wal := m.database.sessions.Stats().WAL
	if wal == nil || wal.Bound <= 0 {
		return
	}
	switch {
	case !m.largeWAL && wal.Bytes > 2*wal.Bound:
		m.largeWAL = true
		m.database.events.add(Event{
			Kind: EventWALLarge, Bytes: wal.Bytes,
			Text: "SQLite's log is twice SQLITE_WAL_MB: a read that does not end, here or in another process, keeps it",
		})
	case m.largeWAL && wal.Bytes <= wal.Bound:
		m.largeWAL = false
		m.database.events.add(Event{Kind: EventWALSmall, Text: "SQLite's log is below its bound again", Bytes: wal.Bytes})
	}
}

// lookAtReplica tells when the primary begins to stand in, and when it ends.
func (m *monitor) lookAtReplica(now time.Time) {
	s := m.database.sessions
	if !s.replica {
		return
	}
	away, class := s.backAt.Load() != 0, ""
	if away {
		class = *s.awayClass.Load()
	}
	m.tell(m.standIn.change(now, away, class))
}
