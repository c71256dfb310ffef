// Package status is a page that shows how the databases of a service are: for the
// person who asks at night whether it is the database, the pool, or the service.
//
// With Fx, status.Module beside dbfx.Module provides a *Page, an http.Handler.
// Mount it on a listener of its own that only the inside reaches, never on the
// service's public one:
//
//	fx.Invoke(func(lc fx.Lifecycle, page *status.Page) {
//		server := &http.Server{Addr: "127.0.0.1:8081", Handler: page}
//		server.RegisterOnShutdown(page.Close) // ends the live streams
//		…
//	})
//
// It serves whatever path it is mounted at: its parts are told apart by the query.
// ?format=json gives the same as JSON, ?events the stream that keeps the page
// fresh; without JavaScript it loads again every few seconds. Nothing is loaded
// from anywhere else, and nothing can be changed through it.
//
// The page answers from memory, so it is there while the database is down or
// locked. While someone looks it asks the database every two seconds how it is
// and, on PostgreSQL, who waits for whom, on a connection of its own.
package status

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sergas/dbkit/dbfx"
)

// Options change the page. With Fx, put one into the graph.
type Options struct {
	// Title stands at the top. Defaults to "Databases".
	Title string
	// Authorize says whether a request may see the page, nil lets all. When it
	// returns false it has written the answer, or 403 is sent.
	Authorize func(w http.ResponseWriter, r *http.Request) bool
	// Hosts are names, without a port, that a proxy on this machine passes on as the
	// Host of a request. On a loopback address the page answers only to these, to
	// localhost and its subdomains, and to IP addresses, and gives others 403: a web
	// site may have its name lead there. On other addresses nothing is asked.
	Hosts []string
}

// Page shows the databases. It is safe for concurrent use.
type Page struct {
	opt      Options
	observer *observer
	view     *view

	mu        sync.Mutex
	databases []*watched

	made   time.Time
	looked atomic.Int64 // how long after made someone last did, in nanoseconds; 0 is never
	closed chan struct{}
	once   sync.Once
	wg     sync.WaitGroup
	opened atomic.Int32 // streams
	frames frames
}

// New makes a page. Give its Observer to the databases, then Watch them.
func New(opt Options) *Page {
	if opt.Title == "" {
		opt.Title = "Databases"
	}
	return &Page{opt: opt, observer: newObserver(), view: newView(), closed: make(chan struct{}), made: time.Now()}
}

// Observer is what tells the page sessions and statements: pass it to
// dbfx.WithObserver.
func (p *Page) Observer() dbfx.Observer { return p.observer }

// Watch adds databases to the page, by their names, the one without a name first, and
// begins to sample them, until Close. One that
// the page has already is not added again. Where two have one name, "#2" follows that
// of the second, then "#3"; their sessions and statements are added up together.
func (p *Page) Watch(databases ...*dbfx.Database) {
	p.mu.Lock()
	first := len(p.databases) == 0
	// Fx gives a group in another order at each start.
	for _, d := range slices.SortedStableFunc(slices.Values(databases), byName) {
		if slices.ContainsFunc(p.databases, func(w *watched) bool { return w.database == d }) {
			continue
		}
		p.databases = append(p.databases, &watched{
			database: d, label: p.freeLabel(d), tally: p.observer.of(d.Name()), last: d.Health().State(), since: time.Now(),
		})
	}
	p.mu.Unlock()
	if first && len(databases) > 0 {
		p.wg.Go(p.sample)
	}
}

func byName(a, b *dbfx.Database) int { return cmp.Compare(a.Name(), b.Name()) }

// freeLabel is the name of d, made the only one on the page: the parts of the page
// are found by it.
func (p *Page) freeLabel(d *dbfx.Database) string {
	name := cmp.Or(d.Name(), "default")
	label := name
	for n := 2; slices.ContainsFunc(p.databases, func(w *watched) bool { return w.label == label }); n++ {
		label = fmt.Sprintf("%s#%d", name, n)
	}
	return label
}

// Close ends the live streams and the sampling. The page answers from there on
// with what it knew.
func (p *Page) Close() {
	p.once.Do(func() { close(p.closed) })
	p.wg.Wait()
}

func (p *Page) watched() []*watched {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.databases[:len(p.databases):len(p.databases)]
}

// sample keeps the history, and asks the databases while someone looks.
func (p *Page) sample() {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for n := 0; ; n++ {
		now := time.Now()
		for _, w := range p.watched() {
			w.sample(now)
			if n%2 == 0 && p.isSeen() {
				p.wg.Go(func() { w.ask(p.closed) })
			}
		}
		select {
		case <-p.closed:
			return
		case <-tick.C:
		}
	}
}

// look says that someone looks.
func (p *Page) look() { p.looked.Store(int64(time.Since(p.made))) }

// isSeen reports whether someone looked a short while ago.
func (p *Page) isSeen() bool {
	at := time.Duration(p.looked.Load())
	return at != 0 && time.Since(p.made)-at < 10*time.Second
}

// ServeHTTP implements http.Handler.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; "+
		"base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	header.Set("Cache-Control", "no-store")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		header.Set("Allow", "GET, HEAD")
		http.Error(w, http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed)
		return
	}
	if !p.ownHost(r) {
		http.Error(w, refusedHost, http.StatusForbidden)
		return
	}
	if p.opt.Authorize != nil {
		told := &told{ResponseWriter: w}
		if !p.opt.Authorize(told, r) {
			if !told.written {
				http.Error(w, http.StatusText(http.StatusForbidden), http.StatusForbidden)
			}
			return
		}
	}
	query := r.URL.Query()
	switch {
	case query.Has("asset"):
		p.asset(w, query.Get("asset"))
		return
	case query.Get("format") == "json":
		p.look()
		header.Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(p.Snapshot()) // the client may have gone
		return
	}
	p.look()
	if query.Has("events") {
		p.stream(w, r)
		return
	}
	header.Set("Content-Type", "text/html; charset=utf-8")
	_ = p.view.page(w, p.opt.Title, p.Snapshot())
}

// told remembers whether Authorize has answered.
type told struct {
	http.ResponseWriter
	written bool
}

// WriteHeader implements http.ResponseWriter.
func (t *told) WriteHeader(status int) {
	t.written = true
	t.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (t *told) Write(b []byte) (int, error) {
	t.written = true
	return t.ResponseWriter.Write(b)
}

// asset serves the style and the script.
func (p *Page) asset(w http.ResponseWriter, name string) {
	kind, ok := map[string]string{"style.css": "text/css; charset=utf-8", "script.js": "text/javascript; charset=utf-8", "icon.svg": "image/svg+xml"}[name]
	if !ok {
		http.Error(w, http.StatusText(http.StatusNotFound), http.StatusNotFound)
		return
	}
	content, _ := files.ReadFile("web/" + name)
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Cache-Control", "max-age=60")
	_, _ = w.Write(content)
}
