package status

import (
	"slices"
	"sync"
	"time"

	"github.com/sergas/dbkit/dbfx"
)

// Point is five seconds of the history.
type Point struct {
	Time       time.Time `json:"time"`
	Running    int       `json:"running"` // the most at a time
	Waiting    int       `json:"waiting"`
	Limit      int       `json:"limit"`
	Committed  int64     `json:"committed"`
	Read       int64     `json:"read"`
	RolledBack int64     `json:"rolled_back"`
	Unknown    int64     `json:"unknown"`
	Timeouts   int64     `json:"timeouts"`
	Wait       float64   `json:"wait"` // no session waited for longer
	Down       bool      `json:"down"`
}

const (
	pointLength = 5 * time.Second
	points      = int(15 * time.Minute / pointLength)
)

// history is the last 15 minutes, sampled once a second.
type history struct {
	mu     sync.Mutex
	points []Point // the oldest first
	before dbfx.Stats
	first  bool
	wait   time.Duration // of the last sample
}

// sample adds what is now. The counts of a point are what came since the last
// sample.
func (h *history) sample(now time.Time, s dbfx.Stats, down bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	start := now.Truncate(pointLength)
	if n := len(h.points); n > 0 && h.points[n-1].Time.Sub(start) > pointLength { // the clock was set back
		h.points = slices.DeleteFunc(h.points, func(p Point) bool { return p.Time.After(start) })
	}
	if n := len(h.points); n == 0 || h.points[n-1].Time.Before(start) {
		if n >= points {
			h.points = append(h.points[:0], h.points[1:]...)
		}
		h.points = append(h.points, Point{Time: start})
	}
	p := &h.points[len(h.points)-1]
	p.Running, p.Waiting = max(p.Running, s.Running), max(p.Waiting, s.Waiting)
	p.Limit, p.Down, p.Wait = limitOf(s), p.Down || down, max(p.Wait, s.LongestWait.Seconds())
	if h.first {
		p.Wait = max(p.Wait, longestSince(s.Waits, h.before.Waits).Seconds())
	}
	if h.first {
		p.Committed += s.Committed - h.before.Committed
		p.Read += s.Read - h.before.Read
		p.RolledBack += s.RolledBack - h.before.RolledBack
		p.Unknown += s.Unknown - h.before.Unknown
		p.Timeouts += s.Timeouts - h.before.Timeouts
	}
	h.before, h.first, h.wait = s, true, s.LongestWait
}

// longestSince is a bound that no wait exceeded which has ended since before, and the
// last bound there is where one may have.
func longestSince(now, before dbfx.Distribution) time.Duration {
	for i := len(now.Counts) - 1; i >= 0; i-- {
		if now.Counts[i] > before.Counts[i] {
			return now.Bounds[min(i, len(now.Bounds)-1)]
		}
	}
	return 0
}

// waited reports whether a session has waited for half a second.
func (h *history) waited() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.wait >= 500*time.Millisecond
}

// read returns the points of the last 15 minutes, what they sum up to, and the
// sessions a second of the last one.
func (h *history) read(now time.Time) ([]Point, Recent, float64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := make([]Point, 0, len(h.points))
	var r Recent
	var lastMinute int64
	var since time.Time
	for _, p := range h.points {
		if now.Sub(p.Time) > 15*time.Minute {
			continue
		}
		list = append(list, p)
		n := p.Committed + p.Read + p.RolledBack + p.Unknown
		r.Sessions += n
		r.RolledBack += p.RolledBack
		r.Unknown += p.Unknown
		r.Timeouts += p.Timeouts
		r.LongestWait = max(r.LongestWait, p.Wait)
		r.MostRunning, r.MostWaiting = max(r.MostRunning, p.Running), max(r.MostWaiting, p.Waiting)
		if now.Sub(p.Time) <= time.Minute {
			lastMinute += n
			if since.IsZero() {
				since = p.Time
			}
		}
	}
	if since.IsZero() {
		return list, r, 0
	}
	return list, r, float64(lastMinute) / max(now.Sub(since).Seconds(), 1)
}
