package status

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/sergas/dbkit/dbfx"
)

// The bounds of the streams: a browser opens a new one when one has ended.
const (
	streamLength = 5 * time.Minute
	mostStreams  = 50
)

// tickLength is the time between two events of a stream. A frame that is younger
// than frameLife serves another stream too: it is a little less than a tick, so that
// a tick that comes early does not miss its frame.
const (
	tickLength = time.Second
	frameLife  = tickLength * 9 / 10
)

// frame is what the page showed at one moment, drawn once for all streams.
type frame struct {
	number   int64 // 1 is the first
	at       time.Time
	clock    string
	sections map[string]section // by the id of its element
	change   []byte             // the event for a stream that has the frame before
	stopping bool               // a database is: the streams end
}

// section is a part of the page, and the frame since which it is as it is.
type section struct {
	html  string
	since int64
}

// event returns the event for a stream whose last frame had the number had, 0 for
// one that has none.
func (f *frame) event(had int64) ([]byte, error) {
	if f.change != nil && had == f.number-1 {
		return f.change, nil
	}
	changed := map[string]string{"clock": f.clock}
	for id, s := range f.sections {
		if s.since > had {
			changed[id] = s.html
		}
	}
	text, err := json.Marshal(changed)
	if err != nil {
		return nil, err
	}
	return append(append([]byte("data: "), text...), "\n\n"...), nil
}

// frame draws the frame that comes after before, which is nil for the first.
func (v *view) frame(s Snapshot, before *frame) (*frame, error) {
	f := &frame{number: 1, at: s.Time, clock: clock(s.Time), sections: map[string]section{}}
	if before != nil {
		f.number = before.number + 1
	}
	for _, d := range s.Databases {
		f.stopping = f.stopping || d.State == dbfx.StateStopping
		for _, name := range sections {
			if name == "nav" && len(s.Databases) == 1 {
				continue // the page has none
			}
			var b strings.Builder
			if err := v.templates.ExecuteTemplate(&b, name, d); err != nil {
				return nil, err
			}
			id, now := d.Name+"."+name, section{b.String(), f.number}
			if before != nil && before.sections[id].html == now.html {
				now = before.sections[id]
			}
			f.sections[id] = now
		}
	}
	var err error
	f.change, err = f.event(f.number - 1)
	return f, err
}

// frames keeps the last frame.
type frames struct {
	mu   sync.Mutex
	last *frame
}

// frame returns what the page shows now. The first stream that asks in a second
// draws it, and the others wait for it.
func (p *Page) frame() (*frame, error) {
	p.frames.mu.Lock()
	defer p.frames.mu.Unlock()
	if last := p.frames.last; last != nil && time.Since(last.at) < frameLife {
		return last, nil
	}
	next, err := p.view.frame(p.Snapshot(), p.frames.last)
	if err == nil {
		p.frames.last = next
	}
	return next, err
}

// stream sends the sections that have changed, once a second, until the client
// goes, the page closes or the service stops: http.Server.Shutdown waits for it.
func (p *Page) stream(w http.ResponseWriter, r *http.Request) {
	if p.opened.Add(1) > mostStreams {
		p.opened.Add(-1)
		http.Error(w, "too many look at this page", http.StatusServiceUnavailable)
		return
	}
	defer p.opened.Add(-1)
	w.Header().Set("Content-Type", "text/event-stream")
	out := http.NewResponseController(w)
	ctx, cancel := context.WithTimeout(r.Context(), streamLength)
	defer cancel()
	tick := time.NewTicker(tickLength)
	defer tick.Stop()
	ended := make(chan struct{})
	defer close(ended)
	go func() { // a write to a client that reads nothing must not hold up the shutdown
		select {
		case <-p.closed:
			_ = out.SetWriteDeadline(time.Now())
		case <-ended:
		}
	}()
	for had := int64(0); ; {
		p.look()
		f, err := p.frame()
		if err != nil {
			return
		}
		if f.number != had {
			event, err := f.event(had)
			if err != nil {
				return
			}
			had = f.number
			_ = out.SetWriteDeadline(time.Now().Add(10 * time.Second)) // a client that reads nothing; not every writer can
			if p.isClosed() {                                          // later than here the deadline above is the last one
				return
			}
			if _, err := w.Write(event); err != nil {
				return
			}
			if err := out.Flush(); err != nil {
				return
			}
		}
		if f.stopping {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-p.closed:
			return
		case <-tick.C:
		}
	}
}

func (p *Page) isClosed() bool {
	select {
	case <-p.closed:
		return true
	default:
		return false
	}
}
