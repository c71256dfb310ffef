package dbfx

import (
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sergas/dbkit/dbfx/internal/engine"
	"github.com/sergas/dbkit/dbfx/internal/sqltext"
)

// RunningSession is a Run or View that has begun and not ended.
type RunningSession struct {
	Name     string // by the option Name
	ReadOnly bool
	Since    time.Time // when it was called
	Attempt  int       // 1 at first
	// Waiting says that it waits for its connection, or for the right to write, and
	// Wait how long it has or, once it has one, had to.
	Waiting bool
	Wait    time.Duration
	Held    time.Duration // for how long it has had its connection; 0 where it has none
	// Statement is the shape of the statement under way, without its values, and ""
	// between two; StatementAge says since when it runs.
	Statement    string
	StatementAge time.Duration
	Statements   int64 // that this attempt has begun, BEGIN among them
	Rows         int64 // that it has read or changed
	// Caller is where the function that it runs was written: "store.go:42 store.create".
	Caller  string
	Role    Role   // of the handle that it has or had a connection of
	Backend uint32 // the process of PostgreSQL that serves it, 0 elsewhere

	now    time.Duration // Wait without the waits that were over before, as for a replica
	trying bool          // it waits for a replica that has a place for it, or else the primary
	origin uintptr       // of Caller
	live   *live
}

// Running returns the sessions that run now, the oldest first.
func (s *Sessions) Running() []RunningSession {
	list := s.running()
	slices.SortStableFunc(list, func(a, b RunningSession) int { return a.Since.Compare(b.Since) })
	for i := range list {
		list[i].describe()
	}
	return list
}

// describe completes what running returned.
func (r *RunningSession) describe() {
	r.Statement, r.Caller = sqltext.Shape(r.Statement), callerOf(r.origin)
}

// running is Running in any order, with the texts of the statements as they are
// and without the callers.
func (s *Sessions) running() []RunningSession {
	var list []RunningSession
	now := time.Now()
	s.active.each(func(w *work) { list = append(list, w.live.look(w, now)) })
	return list
}

// live is what a session shows of itself while it runs. The session writes it and
// others read it.
type live struct {
	start   time.Time // set before others can see it
	attempt atomic.Int32
	waits   atomic.Int64 // the moment since when; 0 while it does not wait
	wait    atomic.Int64 // how long it did, in nanoseconds
	holds   atomic.Int64 // the moment since when it has a connection; 0 while it has none
	trying  atomic.Bool  // see RunningSession
	role    atomic.Value // a Role
	long    bool         // the log has it; the monitor's own
	hold    atomic.Pointer[engine.Hold]
}

// waiting says that the wait for a connection begins.
func (l *live) waiting(now time.Time) {
	l.hold.Store(nil)
	l.holds.Store(0)
	l.trying.Store(false)
	l.waits.Store(moment(now))
}

// holding says that the session has a connection and BEGIN has succeeded.
func (l *live) holding(now time.Time, wait time.Duration, h *engine.Hold, role Role) {
	l.hold.Store(h)
	l.wait.Add(int64(wait))
	l.role.Store(role)
	l.holds.Store(moment(now))
	l.waits.Store(0)
}

// idle says that the session has no connection and waits for none, after a wait
// that was in vain.
func (l *live) idle(wait time.Duration) {
	l.wait.Add(int64(wait))
	l.waits.Store(0)
	l.holds.Store(0)
	l.hold.Store(nil)
}

// look describes the session; its statement is the text yet.
func (l *live) look(w *work, now time.Time) RunningSession {
	r := RunningSession{
		Name: w.options.name, ReadOnly: w.readOnly, Since: l.start, Attempt: int(l.attempt.Load()),
		Wait: time.Duration(l.wait.Load()), origin: w.origin(), live: l,
	}
	if since := l.waits.Load(); since != 0 {
		r.Waiting, r.trying = true, l.trying.Load()
		r.now = time.Duration(max(moment(now)-since, 0))
		r.Wait += r.now
	}
	if since := l.holds.Load(); since != 0 {
		r.Held = time.Duration(max(moment(now)-since, 1)) // it may have got it after now
	}
	r.Role, _ = l.role.Load().(Role)
	if h := l.hold.Load(); h != nil {
		r.Backend = h.Backend.Load()
		r.Statements, r.Rows = h.Counts()
		var since time.Time
		if r.Statement, since = h.Statement(); r.Statement != "" {
			r.StatementAge = max(now.Sub(since), 0)
		}
	}
	return r
}

// origin is where the function of a session was written. RunValue passes that of
// the function it wraps.
func (w *work) origin() uintptr {
	if w.options.origin != 0 {
		return w.options.origin
	}
	return reflect.ValueOf(w.fn).Pointer()
}

// writtenAt tells which function RunValue was given.
func writtenAt(fn any) SessionOption {
	return func(o *sessionOptions) { o.origin = reflect.ValueOf(fn).Pointer() }
}

// callerOf says where a function was written, which costs nothing until someone
// asks: for a function literal that is the line of Run.
func callerOf(origin uintptr) string {
	f := runtime.FuncForPC(origin)
	if f == nil {
		return ""
	}
	name := f.Name()
	name = name[strings.LastIndexByte(name, '/')+1:]
	file, line := f.FileLine(f.Entry())
	if file == "<autogenerated>" { // a method value
		return strings.TrimSuffix(name, "-fm")
	}
	return filepath.Base(file) + ":" + strconv.Itoa(line) + " " + name
}
