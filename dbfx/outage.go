package dbfx

import (
	"sync"
	"time"
)

// outage is what the log has told of a state that comes and goes: one line when it
// begins, and one when it has ended.
type outage struct {
	begin, end Event // as they are told, but for the times and the class

	mu      sync.Mutex
	since   time.Time // of the outage that was told; zero while there is none
	class   string
	back    time.Time // since when it is over, which was not told yet
	told    time.Time // when an end was told last
	flaps   int       // outages that each began soon after the end of the one before
	between int       // outages that were not told
}

// From the third outage on that begins within flapping after the end of the one before,
// it must have been over for the time of steady before the log says so. Health itself
// says at once how it is.
const (
	flapping  = time.Minute
	steady    = 10 * time.Second
	mostFlaps = 2
)

// change takes over how it is at a moment, and returns what is to be told of that.
func (o *outage) change(at time.Time, out bool, class string) (e Event, changed bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if out {
		return o.out(at, class)
	}
	if o.since.IsZero() {
		return e, false
	}
	if o.back.IsZero() {
		o.back = at
	}
	if o.flaps >= mostFlaps && at.Sub(o.back) < steady {
		return e, false
	}
	e = o.end
	e.Time, e.Class, e.Duration, e.Alike = at, o.class, o.back.Sub(o.since), o.between
	o.since, o.back, o.told, o.between = time.Time{}, time.Time{}, at, 0
	return e, true
}

func (o *outage) out(at time.Time, class string) (e Event, changed bool) {
	o.class = class
	if !o.since.IsZero() {
		if !o.back.IsZero() {
			o.back = time.Time{}
			o.between++
		}
		return e, false
	}
	if !o.told.IsZero() && at.Sub(o.told) < flapping {
		o.flaps++
	} else {
		o.flaps = 0
	}
	o.since = at
	e = o.begin
	e.Time, e.Class = at, class
	return e, true
}

// isOut reports whether the log has it so.
func (o *outage) isOut() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return !o.since.IsZero()
}

// saw takes over what a check has found. It tells the change, and nothing else. An
// observer that is told may ask health itself, or hang: no lock is held by then.
func (m *monitor) saw(r Report) {
	if r.State != StateStarting && r.State != StateStopping {
		m.tell(m.outage.change(r.Time, r.State == StateDown, r.Class))
	}
	m.lookAtWrites(time.Now())
}

func (m *monitor) tell(e Event, changed bool) {
	if changed {
		m.database.events.add(e)
	}
}

// lookAtWrites tells when the database begins to refuse writes, and when it takes them
// again. It asks memory: what the last check has found.
func (m *monitor) lookAtWrites(now time.Time) { m.tell(m.changeOfWrites(now)) }

func (m *monitor) changeOfWrites(now time.Time) (e Event, changed bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch refused := m.refused.Load(); {
	case refused == nil:
		return m.writes.change(now, false, "")
	case refused.class != "":
		return m.writes.change(now, true, refused.class)
	}
	return e, false // a session was refused, and no check yet
}
