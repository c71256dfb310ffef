package dbfx

import (
	"sync"
	"time"
)

// deadlines are the ends of many short waits behind one timer. Nearly all of these
// waits end before their time, and to start and stop a timer for each wakes a
// thread of the runtime, which costs more than the rest of a session's begin. The
// one timer is set for the first end, and stays set when that wait is over: it then
// looks for the next, so that it runs once in a while and not once a session.
type deadlines struct {
	mu    sync.Mutex
	first *deadline
	at    time.Time // when the timer fires; zero when it is not set
	timer *time.Timer
}

// deadline is the end of one wait. The zero deadline is not set.
type deadline struct {
	at         time.Time
	fn         func()
	prev, next *deadline
	set        bool
}

// set makes fn run on a goroutine of its own at a time, unless d is stopped before.
// d is not set.
func (s *deadlines) set(d *deadline, at time.Time, fn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d.at, d.fn, d.set = at, fn, true
	d.prev, d.next = nil, s.first
	if s.first != nil {
		s.first.prev = d
	}
	s.first = d
	s.wake(at)
}

// stop reports whether it kept fn from running; it does not for a deadline that is
// not set.
func (s *deadlines) stop(d *deadline) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.remove(d)
}

// remove takes d out of the list. The mutex is held.
func (s *deadlines) remove(d *deadline) bool {
	if !d.set {
		return false
	}
	if d.prev != nil {
		d.prev.next = d.next
	} else {
		s.first = d.next
	}
	if d.next != nil {
		d.next.prev = d.prev
	}
	d.prev, d.next, d.set = nil, nil, false
	return true
}

// wake sees to it that the timer fires at that time or before. The mutex is held.
func (s *deadlines) wake(at time.Time) {
	if !s.at.IsZero() && !at.Before(s.at) {
		return
	}
	s.at = at
	if s.timer == nil {
		s.timer = time.AfterFunc(time.Until(at), s.fire)
	} else {
		s.timer.Reset(time.Until(at))
	}
}

// fire runs what is due, and sets the timer for what comes next.
func (s *deadlines) fire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at = time.Time{}
	now := time.Now()
	var next time.Time
	for d := s.first; d != nil; {
		after := d.next
		switch {
		case !d.at.After(now):
			s.remove(d)
			go d.fn()
		case next.IsZero() || d.at.Before(next):
			next = d.at
		}
		d = after
	}
	if !next.IsZero() {
		s.wake(next)
	}
}
