package status

import (
	"slices"
	"time"

	"github.com/sergas/dbkit/dbfx"
)

// Snapshot is all that the page shows, as ?format=json gives it. Durations are
// seconds. It holds no argument, no secret and no text of an error.
type Snapshot struct {
	Time      time.Time  `json:"time"`
	Databases []Database `json:"databases"`
}

// Database is one database of a Snapshot.
type Database struct {
	Name   string     `json:"name"` // "default" for the one without a name
	Engine string     `json:"engine"`
	Where  string     `json:"where"`
	State  dbfx.State `json:"state"`
	Class  string     `json:"class,omitempty"` // of the error while it is down
	Reason string     `json:"reason,omitempty"`
	Since  time.Time  `json:"since"` // of the state, or since the page has watched it

	Running  int     `json:"running"`
	Waiting  int     `json:"waiting"` // for a connection, or SQLite's right to write
	Blocked  int     `json:"blocked"` // of those that run, who waits for a lock of the database
	Limit    int     `json:"limit"`   // of sessions at a time; 0 is none
	Timeouts int64   `json:"timeouts"`
	Retries  int64   `json:"retries"`
	Rate     float64 `json:"sessions_per_second"` // over the last minute

	WaitP50 float64 `json:"wait_p50"` // bounds, of all since the start
	WaitP99 float64 `json:"wait_p99"`
	UseP50  float64 `json:"use_p50"`
	UseP99  float64 `json:"use_p99"`

	Recent  Recent      `json:"recent"`
	History []Point     `json:"history"`
	Now     []Session   `json:"now"`      // the oldest
	More    int         `json:"more"`     // that are not among them
	Block   string      `json:"blocking"` // "", or why who waits for whom is not known
	Names   []Name      `json:"sessions"`
	Slowest []Statement `json:"statements"`
	Handles []Handle    `json:"handles"`
	WAL     *WAL        `json:"wal,omitempty"`
	Write   *Write      `json:"write,omitempty"`
	Checks  []Check     `json:"checks"`
	Events  []Event     `json:"events"`
	Setting []Setting   `json:"settings"`
}

// Recent sums up the last 15 minutes.
type Recent struct {
	Sessions    int64   `json:"sessions"`
	RolledBack  int64   `json:"rolled_back"`
	Unknown     int64   `json:"unknown"`
	Timeouts    int64   `json:"timeouts"`
	LongestWait float64 `json:"longest_wait"`
	MostRunning int     `json:"most_running"`
	MostWaiting int     `json:"most_waiting"`
}

// Session is one that runs now.
type Session struct {
	Name      string  `json:"name"`
	Mode      string  `json:"mode"` // run or view
	Waiting   bool    `json:"waiting"`
	Age       float64 `json:"age"`
	Wait      float64 `json:"wait"`
	Held      float64 `json:"held"`
	Attempt   int     `json:"attempt"`
	Statement string  `json:"statement"`
	Runs      float64 `json:"statement_age"`
	Count     int64   `json:"statements"`
	Rows      int64   `json:"rows"`
	Caller    string  `json:"caller"`
	Role      string  `json:"role"`
	Backend   uint32  `json:"backend,omitempty"`
	WaitsFor  string  `json:"waits_for,omitempty"`
	Blocks    int     `json:"blocks,omitempty"` // how many wait for it
}

// Name is what the sessions of one name did since the start.
type Name struct {
	Name       string  `json:"name"`
	Mode       string  `json:"mode"`
	Count      int64   `json:"count"`
	Committed  int64   `json:"committed"`
	Read       int64   `json:"read"`
	RolledBack int64   `json:"rolled_back"`
	Unknown    int64   `json:"unknown"`
	Retries    int64   `json:"retries"`
	Mean       float64 `json:"mean"`
	Longest    float64 `json:"longest"`
	MeanWait   float64 `json:"mean_wait"`
	LastError  string  `json:"last_error,omitempty"` // its class

	total, wait time.Duration
}

// Statement is a shape of statements.
type Statement struct {
	Name    string  `json:"name"` // sqlc's, or the operation and the table
	Shape   string  `json:"shape"`
	Session string  `json:"session,omitempty"` // the last that ran it
	Count   int64   `json:"count"`
	Errors  int64   `json:"errors"`
	Rows    int64   `json:"rows"`
	Total   float64 `json:"total"`
	Mean    float64 `json:"mean"`
	Longest float64 `json:"longest"`

	total, longest time.Duration
	dropped        bool // it has made room for another
}

// Handle is a kind of connections.
type Handle struct {
	Role    string  `json:"role"`
	Max     int     `json:"max"`
	Open    int     `json:"open"`
	Used    int     `json:"used"`
	Idle    int     `json:"idle"`
	Waiting int     `json:"waiting"`
	Waits   int64   `json:"waits"`
	Waited  float64 `json:"waited"`
	Lag     float64 `json:"lag"`
	Away    bool    `json:"away"`
}

// WAL is SQLite's log.
type WAL struct {
	Bytes       int64   `json:"bytes"`
	Bound       int64   `json:"bound"`
	Pending     int64   `json:"pending"`
	Checkpoints int64   `json:"checkpoints"`
	Blocked     int64   `json:"blocked"`
	Age         float64 `json:"checkpoint_age"`
}

// Write is who writes to SQLite, and how many wait to.
type Write struct {
	Holder  string  `json:"holder"`
	Held    float64 `json:"held"`
	Waiting int     `json:"waiting"`
}

// Check is what a check of readiness said last.
type Check struct {
	Name   string      `json:"name"`
	Status dbfx.Status `json:"status"`
	Reason string      `json:"reason,omitempty"`
	// Figures are what the check gave, such as the schema's version.
	Figures map[string]float64 `json:"figures,omitempty"`
}

// Event is a line of the log of events.
type Event struct {
	Time     time.Time `json:"time"`
	Kind     string    `json:"kind"`
	Text     string    `json:"text"`
	Session  string    `json:"session,omitempty"`
	Class    string    `json:"class,omitempty"`
	Caller   string    `json:"caller,omitempty"`
	Shape    string    `json:"statement,omitempty"`
	Duration float64   `json:"duration,omitempty"`
	Waiting  int       `json:"waiting,omitempty"`
	Alike    int       `json:"alike,omitempty"`
}

// Setting is one, masked.
type Setting struct {
	Variable string `json:"variable"`
	Value    string `json:"value"`
}

// most are how many rows the page shows of each table.
const (
	mostRunning    = 100
	mostNames      = 50
	mostStatements = 25
	mostEvents     = 40
)

// Snapshot says how the databases are. It asks memory alone.
func (p *Page) Snapshot() Snapshot {
	now := time.Now()
	snapshot := Snapshot{Time: now, Databases: []Database{}}
	for _, w := range p.watched() {
		snapshot.Databases = append(snapshot.Databases, w.snapshot(now))
	}
	return snapshot
}

func (w *watched) snapshot(now time.Time) Database {
	d, stats := w.database, w.database.Sessions().Stats()
	report := d.Health().Last()
	out := Database{
		Name: w.label, Engine: string(stats.Dialect), Where: d.Where(),
		Running: stats.Running, Waiting: stats.Waiting, Timeouts: stats.Timeouts, Retries: stats.Retries,
		WaitP50: stats.Waits.Quantile(0.5).Seconds(), WaitP99: stats.Waits.Quantile(0.99).Seconds(),
		UseP50: stats.Uses.Quantile(0.5).Seconds(), UseP99: stats.Uses.Quantile(0.99).Seconds(),
		Names: w.tally.names(), Slowest: w.tally.slowest(),
	}
	out.State, out.Class, out.Since = w.state(now, report, stats)
	out.Reason = report.Reason
	out.Limit = limitOf(stats)
	out.History, out.Recent, out.Rate = w.history.read(now)
	out.Now, out.More, out.Block = w.running()
	for _, s := range out.Now {
		if s.WaitsFor != "" && !s.Waiting {
			out.Blocked++
		}
	}
	for _, h := range stats.Handles {
		out.Handles = append(out.Handles, Handle{
			Role: h.Role, Max: h.MaxOpenConnections, Open: h.OpenConnections, Used: h.InUse, Idle: h.Idle, Waiting: h.Waiting,
			Waits: h.WaitCount, Waited: h.WaitDuration.Seconds(), Lag: h.Lag.Seconds(), Away: h.Away,
		})
	}
	if s := stats.WAL; s != nil {
		out.WAL = &WAL{Bytes: s.Bytes, Bound: s.Bound, Pending: s.Pending, Checkpoints: s.Checkpoints, Blocked: s.Blocked}
		if !s.Checkpointed.IsZero() {
			out.WAL.Age = now.Sub(s.Checkpointed).Seconds()
		}
	}
	if s := stats.Write; s != nil {
		out.Write = &Write{Holder: s.Holder, Held: s.Held.Seconds(), Waiting: s.Waiting}
	}
	for _, c := range report.Checks {
		out.Checks = append(out.Checks, Check{c.Name, c.Status, c.Reason, c.Figures})
	}
	for _, s := range d.Settings() {
		out.Setting = append(out.Setting, Setting{s.Variable, s.Value})
	}
	out.Events = lastEvents(d.Events())
	return out
}

// state is that of the last check, and what figures know sooner: sessions that
// wait.
func (w *watched) state(now time.Time, report dbfx.Report, stats dbfx.Stats) (dbfx.State, string, time.Time) {
	state, class := w.database.Health().State(), ""
	if state == dbfx.StateUp {
		if report.State != "" {
			state, class = report.State, report.Class
		}
		switch long := w.history.waited(); {
		case state == dbfx.StateUp && stats.Waiting > 0 && long:
			state = dbfx.StateSaturated
		case state == dbfx.StateSaturated && !long: // full for the moment of the check
			state = dbfx.StateUp
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.last != state {
		w.last, w.since = state, now
	}
	return state, class, w.since
}

// ownRole is that of the connections which a user of SQLite has changed, and which
// are his alone: they do not count for the sessions.
const ownRole = "own"

// limitOf is how many sessions may run at a time, 0 where there is no limit.
func limitOf(stats dbfx.Stats) int {
	limit := 0
	for _, h := range stats.Handles {
		switch {
		case h.MaxOpenConnections > 0:
			limit += h.MaxOpenConnections
		case h.Role != ownRole:
			return 0
		}
	}
	return limit
}

// lastEvents are the newest, the newest first.
func lastEvents(all []dbfx.Event) []Event {
	slices.Reverse(all)
	out := make([]Event, 0, mostEvents)
	for _, e := range all[:min(len(all), mostEvents)] {
		out = append(out, Event{
			Time: e.Time, Kind: string(e.Kind), Text: e.Text, Session: e.Session, Class: e.Class, Caller: e.Caller,
			Shape: e.Statement, Duration: e.Duration.Seconds(), Waiting: e.Waiting, Alike: e.Alike,
		})
	}
	return out
}
