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
//
// So a wait has no order before the timer has fired once while it lasts: to begin
// and to stop it is to put it at the end of a list and to take it out.
type deadlines struct {
	mu sync.Mutex
	// The first sorted of the waits are a heap: each ends no sooner than the one at
	// (i-1)/2, so that the first of them is next.
	waits  []*deadline
	sorted int
	at     time.Time // when the timer fires; zero when it is not set
	timer  *time.Timer
}

// deadline is the end of one wait. The zero deadline is not set.
type deadline struct {
	at    time.Time
	fn    func()
	place int // among the waits, from 1; 0 where it is not set
}

// set makes fn run on a goroutine of its own at a time, unless d is stopped before.
// d is not set.
func (s *deadlines) set(d *deadline, at time.Time, fn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d.at, d.fn = at, fn
	s.waits = append(s.waits, d)
	d.place = len(s.waits)
	if s.at.IsZero() || at.Before(s.at) {
		s.wake(at)
	}
}

// stop reports whether it kept fn from running; it does not for a deadline that is
// not set.
func (s *deadlines) stop(d *deadline) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d.place == 0 {
		return false
	}
	s.remove(d)
	return true
}

// wake sets the timer. The mutex is held.
func (s *deadlines) wake(at time.Time) {
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
	for ; s.sorted < len(s.waits); s.sorted++ {
		s.up(s.waits[s.sorted], s.sorted)
	}
	for now := time.Now(); len(s.waits) > 0; {
		next := s.waits[0]
		if next.at.After(now) {
			s.wake(next.at)
			return
		}
		go next.fn()
		s.remove(next)
	}
}

// remove takes d out. The mutex is held.
func (s *deadlines) remove(d *deadline) {
	i := d.place - 1
	if i < s.sorted { // its place gets the last of the heap, whose place is then free
		s.sorted--
		if other := s.waits[s.sorted]; other != d {
			s.up(other, s.down(other, i))
		}
		i = s.sorted
	}
	end := len(s.waits) - 1
	if i < end {
		s.put(s.waits[end], i)
	}
	s.waits[end] = nil
	s.waits = s.waits[:end]
	d.place = 0
}

// up puts d at i, or above where that ends later. The mutex is held.
func (s *deadlines) up(d *deadline, i int) {
	for i > 0 && d.at.Before(s.waits[(i-1)/2].at) {
		s.put(s.waits[(i-1)/2], i)
		i = (i - 1) / 2
	}
	s.put(d, i)
}

// down finds the place for d in the heap from i downwards; what ends sooner moves
// up. The mutex is held.
func (s *deadlines) down(d *deadline, i int) int {
	for {
		below := 2*i + 1
		if other := below + 1; other < s.sorted && s.waits[other].at.Before(s.waits[below].at) {
			below = other
		}
		if below >= s.sorted || !s.waits[below].at.Before(d.at) {
			return i
		}
		s.put(s.waits[below], i)
		i = below
	}
}

// put puts d at i. The mutex is held.
func (s *deadlines) put(d *deadline, i int) { s.waits[i], d.place = d, i+1 }
