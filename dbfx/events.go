package dbfx

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// Event is something that happened to a database and that a person should know:
// one a state, not one a request. It is logged, kept for Database.Events, and told
// to each EventObserver.
type Event struct {
	Time     time.Time
	Database string // the name given to Named, "" for the default
	Kind     EventKind
	Text     string // what happened, in words, without a value or a secret

	// The fields below are zero where they do not belong to the kind.
	Class     string        // of the error
	Session   string        // the name of the session
	Caller    string        // where it was begun
	Statement string        // its shape
	Duration  time.Duration // how long it took, or how long the state lasted
	Wait      time.Duration
	Rows      int64
	Attempts  int
	Waiting   int   // sessions
	Bytes     int64 // of the log
	Alike     int   // events of this kind that were not told since the last one, of its name or when there were many
}

// EventKind says what happened.
type EventKind string

// The kinds of events.
const (
	EventStarted       EventKind = "started"
	EventStopping      EventKind = "stopping"
	EventStopped       EventKind = "stopped"
	EventDown          EventKind = "down"           // the database does not answer
	EventUp            EventKind = "up"             // it answers again
	EventNoWrites      EventKind = "no_writes"      // it refused a session's writes, and does so when it is asked
	EventWritesAgain   EventKind = "writes_again"   // it takes them again
	EventSaturated     EventKind = "saturated"      // a session has waited for a second, or half of POOL_TIMEOUT
	EventRelieved      EventKind = "relieved"       // none has any more
	EventStuck         EventKind = "stuck"          // for three times POOL_TIMEOUT no session got a connection
	EventRetriesSpent  EventKind = "retries_spent"  // Retry gave up
	EventSlowSession   EventKind = "slow_session"   // over SQL_SLOW_THRESHOLD
	EventSlowStatement EventKind = "slow_statement" // over SQL_SLOW_THRESHOLD
	EventLongSession   EventKind = "long_session"   // still runs after half a minute
	EventUnknownCommit EventKind = "unknown_commit" // a Run ended with ErrCommitUnknown
	EventWALLarge      EventKind = "wal_large"      // the log is twice its bound
	EventWALSmall      EventKind = "wal_small"      // it is below it again
	EventStandIn       EventKind = "primary_for_replica"
	EventReplicaBack   EventKind = "replica_back"
)

// severity is how loud an event is in the log.
func (k EventKind) severity() zapcore.Level {
	switch k {
	case EventDown, EventStuck, EventUnknownCommit, EventNoWrites:
		return zapcore.ErrorLevel
	case EventStarted, EventStopping, EventStopped, EventUp, EventWritesAgain, EventRelieved, EventWALSmall, EventReplicaBack:
		return zapcore.InfoLevel
	}
	return zapcore.WarnLevel
}

// EventObserver is an Observer that is told the events too.
type EventObserver interface {
	Observer
	ObserveEvent(ctx context.Context, e Event)
}

// keptEvents is how many a database remembers.
const keptEvents = 200

// quiet is how long a second event of one kind and name is not told: under load
// a hundred slow sessions a second would be a hundred lines.
const quiet = 10 * time.Second

// events is the log of what happened.
type events struct {
	database  string
	log       *zap.Logger
	observers *observers

	mu   sync.Mutex
	last []Event // a ring
	next int
	told map[eventKey]*toldEvent
	full map[EventKind]*fullKind
}

// limiter lets one of many that are alike be told in a while.
type limiter struct {
	mu    sync.Mutex
	at    time.Time
	alike int
}

// next reports whether the one that happened now is told, and how many before it were
// not.
func (l *limiter) next(now time.Time) (alike int, told bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.at.IsZero() && now.Sub(l.at) < quiet {
		l.alike++
		return 0, false
	}
	alike = l.alike
	l.at, l.alike = now, 0
	return alike, true
}

// fullKind counts the lines of a kind, of whatever names: a program may make the
// names up.
type fullKind struct {
	since        time.Time
	lines, alike int
}

// mostLines is how many events of one kind are told in the time of quiet.
const mostLines = 20

type eventKey struct {
	kind EventKind
	name string
}

type toldEvent struct {
	at    time.Time
	alike int
}

func newEvents(database string, log *zap.Logger, o *observers) *events {
	return &events{database: database, log: log, observers: o, told: map[eventKey]*toldEvent{}, full: map[EventKind]*fullKind{}}
}

// Events returns the last 200 events, the oldest first.
func (d *Database) Events() []Event {
	e := d.events
	e.mu.Lock()
	defer e.mu.Unlock()
	return append(append([]Event(nil), e.last[e.next:]...), e.last[:e.next]...)
}

// add keeps an event, and logs it.
func (l *events) add(e Event) {
	l.keep(e)
	if entry := l.log.Check(e.Kind.severity(), e.Text); entry != nil {
		entry.Write(e.fields()...)
	}
}

// keep keeps an event and tells the observers, for one that is logged in words of
// its own.
func (l *events) keep(e Event) {
	e.Database = l.database
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	l.mu.Lock()
	if len(l.last) < keptEvents {
		l.last = append(l.last, e)
	} else {
		l.last[l.next] = e
		l.next = (l.next + 1) % keptEvents
	}
	l.mu.Unlock()
	l.observers.event(e)
}

// limited adds an event unless one of its kind about the same thing was told a
// short while ago, or many of its kind; it counts those that it did not.
func (l *events) limited(about string, e Event) {
	now := time.Now()
	l.mu.Lock()
	key := eventKey{e.Kind, about}
	t := l.told[key]
	if t != nil && now.Sub(t.at) < quiet {
		t.alike++
		l.mu.Unlock()
		return
	}
	k := l.full[e.Kind]
	if k == nil {
		k = &fullKind{}
		l.full[e.Kind] = k
	}
	if now.Sub(k.since) >= quiet {
		k.since, k.lines = now, 0
	}
	if k.lines >= mostLines {
		k.alike++
		l.mu.Unlock()
		return
	}
	k.lines++
	if t == nil {
		if len(l.told) >= 1000 { // names are few; whoever makes them up must not fill the memory
			clear(l.told)
		}
		t = &toldEvent{}
		l.told[key] = t
	}
	e.Alike = t.alike + k.alike
	*t, k.alike = toldEvent{at: now}, 0
	l.mu.Unlock()
	l.add(e)
}

// fields are those of the log's line.
func (e Event) fields() []zap.Field {
	list := []zap.Field{zap.String("event", string(e.Kind))}
	text := func(key, value string) {
		if value != "" {
			list = append(list, zap.String(key, value))
		}
	}
	duration := func(key string, d time.Duration) {
		if d != 0 {
			list = append(list, zap.Duration(key, d))
		}
	}
	number := func(key string, n int64) {
		if n != 0 {
			list = append(list, zap.Int64(key, n))
		}
	}
	text("class", e.Class)
	text("session", e.Session)
	text("caller", e.Caller)
	text("statement", e.Statement)
	duration("duration", e.Duration)
	duration("wait", e.Wait)
	number("rows", e.Rows)
	number("attempts", int64(e.Attempts))
	number("waiting", int64(e.Waiting))
	number("bytes", e.Bytes)
	number("alike", int64(e.Alike))
	return list
}
