package fxtest

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sergas/dbkit/dbfx"
)

// Link is the line between a service and its PostgreSQL, which a test can break.
// It is safe for concurrent use. [Link.Heal] undoes all that is done to it; heal
// a line that is down or frozen before the application stops, or its farewell
// takes its time.
type Link struct {
	tb     testing.TB
	listen string // our address
	server string // PostgreSQL's
	serve  sync.WaitGroup

	mu       sync.Mutex
	listener net.Listener // nil while the line is down
	ended    bool         // with the test
	wires    map[*wire]bool
	frozen   chan struct{} // closed by Heal; nil while data flows
	delay    time.Duration
	moment   Moment   // armed for the next COMMIT
	texts    []string // and one of these in its transaction
	cuts     int
}

// Moment is when the line is cut at COMMIT.
type Moment int

const (
	// BeforeCommit cuts the line instead of passing COMMIT on: nothing is
	// committed.
	BeforeCommit Moment = iota + 1
	// AfterCommit passes COMMIT on and cuts the line instead of passing on the
	// server's answer: all is committed.
	AfterCommit
)

// Proxy puts a line in front of the PostgreSQL of cfg, and returns the settings
// of a service at its other end. To the service both moments of [Link.CutAtCommit]
// look the same, and Run returns ErrCommitUnknown. The line is not encrypted, and
// has one server. SQLite has no line: there the test is skipped.
//
//	cfg, link := fxtest.Proxy(t, fxtest.Postgres(t))
//	app := fxtest.Start(t, service.Module, fxtest.Use(cfg))
//	link.CutAtCommit(fxtest.AfterCommit)
//	response := post(t, app, "/orders", order) // what does your handler say now?
func Proxy(tb testing.TB, cfg dbfx.Config) (dbfx.Config, *Link) {
	tb.Helper()
	if cfg.Dialect() != dbfx.Postgres {
		tb.Skip("fxtest: SQLite has no line that could be cut")
	}
	parsed, err := url.Parse(cfg.URL())
	if err != nil || strings.Contains(parsed.Host, ",") || parsed.Hostname() == "" {
		tb.Fatal("fxtest: Proxy wants one host and no socket") // err quotes the URL
	}
	l := &Link{tb: tb, server: net.JoinHostPort(parsed.Hostname(), parsed.Port()), wires: map[*wire]bool{}}
	if parsed.Port() == "" {
		l.server = net.JoinHostPort(parsed.Hostname(), "5432")
	}
	if err := l.open(); err != nil {
		tb.Fatalf("fxtest: Proxy: %v", err)
	}
	tb.Cleanup(l.end)

	arguments := parsed.Query()
	arguments.Set("sslmode", "disable")
	parsed.Host, parsed.RawQuery = l.listen, arguments.Encode()
	cfg.DatabaseURL, cfg.SSLMode = dbfx.NewSecret(parsed.String()), "disable"
	return cfg, l
}

// Cut closes the connections that are open. New ones can be made.
func (l *Link) Cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for w := range l.wires {
		w.close()
	}
}

// Down closes the connections and refuses new ones until Heal.
func (l *Link) Down() {
	l.mu.Lock()
	if l.listener != nil {
		_ = l.listener.Close()
		l.listener = nil
	}
	l.mu.Unlock()
	l.Cut()
}

// Freeze lets nothing pass and closes nothing, as a network does that drops
// packets. New connections get no answer. Heal delivers what was held.
func (l *Link) Freeze() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.frozen == nil {
		l.frozen = make(chan struct{})
	}
}

// Delay makes every round trip take d longer.
func (l *Link) Delay(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.delay = d
}

// CutAtCommit cuts the connection that sends the next COMMIT, once. With texts it
// waits for a transaction that has run a statement with one of them in it, in any
// case: a service may have workers that commit too.
func (l *Link) CutAtCommit(when Moment, texts ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.moment, l.texts = when, nil
	for _, text := range texts {
		l.texts = append(l.texts, strings.ToLower(text))
	}
}

// Cuts counts the connections that CutAtCommit has cut.
func (l *Link) Cuts() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cuts
}

// Heal makes the line as it was.
func (l *Link) Heal() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.delay, l.moment = 0, 0
	l.thaw()
	if l.listener == nil && !l.ended {
		if err := l.open(); err != nil {
			l.tb.Errorf("fxtest: the line cannot come up again: %v", err)
		}
	}
}

func (l *Link) thaw() {
	if l.frozen != nil {
		close(l.frozen)
		l.frozen = nil
	}
}

func (l *Link) end() {
	l.mu.Lock()
	l.ended = true
	l.mu.Unlock()
	l.Down()
	l.mu.Lock()
	l.thaw()
	l.mu.Unlock()
	l.serve.Wait()
}

// open listens, where it did before if it has.
func (l *Link) open() (err error) {
	for range 50 {
		address := l.listen
		if address == "" {
			port, err := freePort()
			if err != nil {
				return err
			}
			address = fmt.Sprintf("127.0.0.1:%d", port)
		}
		if l.listener, err = net.Listen("tcp", address); err == nil {
			l.listen = address
			listener := l.listener
			l.serve.Go(func() { l.accept(listener) })
			return nil
		}
		l.listener = nil
		time.Sleep(20 * time.Millisecond) // another process may have it for a moment
	}
	return err
}

func (l *Link) accept(listener net.Listener) {
	for {
		client, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			l.serve.Go(func() { l.connect(client) })
		}
	}
}

func (l *Link) connect(client net.Conn) {
	server, err := net.Dial("tcp", l.server)
	if err != nil {
		_ = client.Close()
		return
	}
	w := newWire(l, client, server)
	l.mu.Lock()
	if l.listener == nil {
		w.close() // it went down meanwhile
	}
	l.wires[w] = true
	l.mu.Unlock()
	w.run()
	l.mu.Lock()
	delete(l.wires, w)
	l.mu.Unlock()
}

// due says when what is sent now arrives.
func (l *Link) due() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Now().Add(l.delay)
}

// pass waits while the line is frozen; false is the end of the wire.
func (l *Link) pass(ended <-chan struct{}) bool {
	for {
		l.mu.Lock()
		frozen := l.frozen
		l.mu.Unlock()
		if frozen == nil {
			return true
		}
		select {
		case <-frozen:
		case <-ended:
			return false
		}
	}
}

// trap takes what CutAtCommit armed, if it is for a transaction that ran this.
func (l *Link) trap(ran string) Moment {
	l.mu.Lock()
	defer l.mu.Unlock()
	ran = strings.ToLower(ran)
	moment := l.moment
	if moment == 0 || len(l.texts) > 0 && !slices.ContainsFunc(l.texts, func(text string) bool { return strings.Contains(ran, text) }) {
		return 0
	}
	l.moment = 0
	l.cuts++
	return moment
}
