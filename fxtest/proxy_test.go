package fxtest_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/sergas/dbkit/dbfx"
)

// proxy is a TCP proxy in front of PostgreSQL that can lose what it carries. No
// library's proxy can act on what is sent, as one must to lose the reply to one
// statement.
type proxy struct {
	port   int
	target string

	mu      sync.Mutex
	conns   []net.Conn
	links   []*link
	silent  bool   // swallow everything in both directions
	deaf    bool   // … of new connections
	trigger []byte // when a client sends it …
	act     fault
	each    bool // … each time, and not once
	acts    [][]byte
}

// fault is what the proxy does when the trigger passes.
type fault int

const (
	loseReply   fault = iota + 1 // pass it on, and cut instead of passing on the reply
	loseRequest                  // cut before it is passed on
	stallReply                   // pass it on, and swallow the reply
)

func newProxy(t *testing.T, cfg dbfx.Config) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{port: l.Addr().(*net.TCPAddr).Port, target: fmt.Sprintf("%s:%d", cfg.Host, cfg.Port)}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			client, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				wg.Go(func() { p.serve(client) })
			}
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		p.cut()
		wg.Wait()
	})
	return p
}

// on makes the proxy act once, when a client sends text.
func (p *proxy) on(text string, act fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.trigger, p.act, p.each = []byte(text), act, false
}

// onEach makes the proxy act each time that a client sends text.
func (p *proxy) onEach(text string, act fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.trigger, p.act, p.each = []byte(text), act, true
}

// acted is how many times the proxy has done what it was asked for, where text was sent
// with the trigger.
func (p *proxy) acted(text string) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, data := range p.acts {
		if bytes.Contains(data, []byte(text)) {
			n++
		}
	}
	return n
}

// blackhole swallows everything from now on.
func (p *proxy) blackhole() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.silent = true
}

// heal ends that.
func (p *proxy) heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.silent = false
}

// deafen makes new connections swallow everything, and of those that are open the first.
func (p *proxy) deafen() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deaf = true
	p.links[0].mu.Lock()
	defer p.links[0].mu.Unlock()
	p.links[0].stranded = true
}

// strand makes the connections that are open swallow everything.
func (p *proxy) strand() {
	p.open(func(l *link) { l.stranded = true })
}

// doom makes the connections that are open end at the next thing that is sent on them,
// as those do whose server has forgotten them.
func (p *proxy) doom() {
	p.open(func(l *link) { l.doomed = true })
}

// open changes the connections that are open.
func (p *proxy) open(change func(l *link)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.links {
		l.mu.Lock()
		change(l)
		l.mu.Unlock()
	}
}

// reset ends every connection so that nothing more can be sent on it.
func (p *proxy) reset() {
	p.mu.Lock()
	for _, c := range p.conns {
		_ = c.(*net.TCPConn).SetLinger(0)
	}
	p.mu.Unlock()
	p.cut()
}

// cut closes every connection.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		_ = c.Close()
	}
	p.conns = nil
}

func (p *proxy) serve(client net.Conn) {
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		_ = client.Close()
		return
	}
	link := &link{proxy: p, client: client, server: server}
	p.mu.Lock()
	link.stranded = p.deaf
	p.conns, p.links = append(p.conns, client, server), append(p.links, link)
	p.mu.Unlock()
	var wg sync.WaitGroup
	wg.Go(link.requests)
	wg.Go(link.replies)
	wg.Wait()
}

// link is one client's connection.
type link struct {
	proxy          *proxy
	client, server net.Conn

	mu       sync.Mutex
	act      fault // what to do with the replies
	stranded bool  // swallow everything
	doomed   bool  // end with the next request
}

func (l *link) requests() {
	defer func() { _ = l.server.Close() }()
	buffer := make([]byte, 1<<16)
	for {
		n, err := l.client.Read(buffer)
		if err != nil {
			return
		}
		act, silent := l.proxy.match(buffer[:n])
		l.mu.Lock()
		silent = silent || l.stranded
		if l.doomed {
			act = loseRequest
		}
		l.mu.Unlock()
		if act != 0 {
			l.mu.Lock()
			l.act = act
			l.mu.Unlock()
		}
		if act == loseRequest {
			_ = l.client.Close()
			return
		}
		if silent {
			continue
		}
		if _, err := l.server.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// match says whether data holds the trigger, which then is spent.
func (p *proxy) match(data []byte) (fault, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.trigger != nil && bytes.Contains(data, p.trigger) {
		p.acts = append(p.acts, bytes.Clone(data))
		if !p.each {
			p.trigger = nil
		}
		return p.act, p.silent
	}
	return 0, p.silent
}

func (l *link) replies() {
	defer func() { _ = l.client.Close() }()
	buffer := make([]byte, 1<<16)
	for {
		n, err := l.server.Read(buffer)
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
				return
			}
			return
		}
		l.mu.Lock()
		act, stranded := l.act, l.stranded
		l.mu.Unlock()
		_, silent := l.proxy.match(nil)
		silent = silent || stranded
		switch {
		case act == loseReply:
			return
		case act == stallReply || silent:
			continue
		}
		if _, err := l.client.Write(buffer[:n]); err != nil {
			return
		}
	}
}
