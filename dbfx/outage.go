package dbfx

import (
	"sync"
	"time"
)

// outage is what the log has told of whether the database answers: one line when it
// goes down, and one when it is back.
type outage struct {
	mu      sync.Mutex
	since   time.Time // of the outage that was told; zero while it is up
	class   string
	back    time.Time // since when it answers again, which was not told yet
	told    time.Time // when an up was told last
	flaps   int       // outages that each began soon after the end of the one before
	between int       // outages that were not told
}

// A state that comes and goes: from the third outage on that begins within flapping
// after the end of the one before, it must have answered for the time of steady before
// the log says so. Health itself says at once how it is.
const (
	flapping  = time.Minute
	steady    = 10 * time.Second
	mostFlaps = 2
)

// saw takes over what a check has found. It tells the change, and nothing else. An
// observer that is told may ask health itself, or hang: the lock is free by then.
func (m *monitor) saw(r Report) {
	if e, changed := m.outage.change(r); changed {
		m.database.events.add(e)
	}
	if e, changed := m.changeOfWrites(r); changed {
		m.database.events.add(e)
	}
}

// change returns what is to be told of a report.
func (o *outage) change(r Report) (e Event, changed bool) {
	if r.State == StateStarting || r.State == StateStopping {
		return e, false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if r.State == StateDown {
		return o.down(r)
	}
	if o.since.IsZero() {
		return e, false
	}
	if o.back.IsZero() {
		o.back = r.Time
	}
	if o.flaps >= mostFlaps && r.Time.Sub(o.back) < steady {
		return e, false
	}
	e = Event{
		Time: r.Time, Kind: EventUp, Text: "the database answers again", Class: o.class, Duration: o.back.Sub(o.since), Alike: o.between,
	}
	o.since, o.back, o.told, o.between = time.Time{}, time.Time{}, r.Time, 0
	return e, true
}

func (o *outage) down(r Report) (e Event, changed bool) {
	o.class = r.Class
	if !o.since.IsZero() {
		if !o.back.IsZero() {
			o.back = time.Time{}
			o.between++
		}
		return e, false
	}
	if !o.told.IsZero() && r.Time.Sub(o.told) < flapping {
		o.flaps++
	} else {
		o.flaps = 0
	}
	o.since = r.Time
	return Event{Time: r.Time, Kind: EventDown, Text: "the database does not answer", Class: r.Class}, true
}

// isDown reports whether the log has the database down.
func (m *monitor) isDown() bool {
	m.outage.mu.Lock()
	defer m.outage.mu.Unlock()
	return !m.outage.since.IsZero()
}

// changeOfWrites returns what is to be told of whether the database takes writes. A
// check of a database that is down cannot ask.
func (m *monitor) changeOfWrites(r Report) (e Event, changed bool) {
	if r.State != StateUp && r.State != StateSaturated {
		return e, false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	refused := m.refused.Load()
	switch {
	case refused != nil && refused.class != "" && m.refusedSince.IsZero():
		m.refusedSince = r.Time
		return Event{Time: r.Time, Kind: EventNoWrites, Text: noWrites, Class: refused.class}, true
	case refused == nil && !m.refusedSince.IsZero():
		e = Event{Kind: EventWritesAgain, Text: "the database takes writes again", Duration: time.Since(m.refusedSince)}
		m.refusedSince = time.Time{}
		return e, true
	}
	return e, false
}
