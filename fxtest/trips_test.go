package fxtest_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/sergas/dbkit/dbfx"
)

// tally is a proxy in front of PostgreSQL that knows its protocol: it counts
// answers, holds requests back, and cuts a line behind a message.
type tally struct {
	port   int
	target string
	serve  sync.WaitGroup

	mu      sync.Mutex
	woken   *sync.Cond
	lines   map[net.Conn]bool // both ends of each
	alone   bool              // new lines get no answer
	begins  int               // requests with a BEGIN
	answers int               // ReadyForQuery that went to clients
	held    bool
	cut     int  // how many messages of a server go on after the next request; below 0 is all
	forever bool // cut each line so, and not only one
}

func newTally(t *testing.T, cfg dbfx.Config) *tally {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	y := &tally{port: l.Addr().(*net.TCPAddr).Port, target: fmt.Sprintf("%s:%d", cfg.Host, cfg.Port), lines: map[net.Conn]bool{}, cut: -1}
	y.woken = sync.NewCond(&y.mu)
	y.serve.Go(func() {
		for {
			client, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				y.serve.Go(func() { y.connect(client) })
			}
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		y.mu.Lock()
		y.held = false
		for c := range y.lines {
			_ = c.Close()
		}
		y.woken.Broadcast()
		y.mu.Unlock()
		y.serve.Wait()
	})
	return y
}

func (y *tally) connect(client net.Conn) {
	y.mu.Lock()
	y.lines[client] = true
	alone := y.alone
	y.mu.Unlock()
	if alone {
		_, _ = io.Copy(io.Discard, client)
		_ = client.Close()
		return
	}
	server, err := net.Dial("tcp", y.target)
	if err != nil {
		_ = client.Close()
		return
	}
	line := &tallied{tally: y, client: client, server: server, left: -1}
	y.mu.Lock()
	y.lines[server] = true
	y.mu.Unlock()
	var wg sync.WaitGroup
	wg.Go(line.requests)
	wg.Go(line.replies)
	wg.Wait()
	y.mu.Lock()
	delete(y.lines, client)
	delete(y.lines, server)
	y.mu.Unlock()
}

// count returns how many requests were answered during fn: what fn waited for, and
// any answer nobody waits for that happens to come before fn ends. Where there is
// one, fn calls hold before it is asked for.
func (y *tally) count(fn func()) int {
	y.mu.Lock()
	before := y.answers
	y.mu.Unlock()
	fn()
	y.mu.Lock()
	defer y.mu.Unlock()
	return y.answers - before
}

// takesNoMore makes the lines that are open the only ones: whatever is answered from
// now on, they have carried.
func (y *tally) takesNoMore() {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.alone = true
}

// begun returns how many times a BEGIN was sent so far, on whatever line. Other than
// the lines, which the pool opens also to ask whether the server is there, those are
// the sessions' own.
func (y *tally) begun() int {
	y.mu.Lock()
	defer y.mu.Unlock()
	return y.begins
}

// hold keeps back what clients send, until release.
func (y *tally) hold() {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.held = true
}

func (y *tally) release() {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.held = false
	y.woken.Broadcast()
}

// cutAfter lets n messages of a server pass after the next request, and then cuts
// that line, if the answer is not complete by then.
func (y *tally) cutAfter(n int, forever bool) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.cut, y.forever = n, forever
}

// tallied is one line through the proxy.
type tallied struct {
	tally          *tally
	client, server net.Conn
	ready          bool // the startup is over; the tally's mutex guards it, and left
	left           int  // messages until the cut; below 0 is no cut
}

func (l *tallied) requests() {
	defer func() { _ = l.server.Close() }()
	buffer := make([]byte, 1<<16)
	for {
		n, err := l.client.Read(buffer)
		if err != nil {
			return
		}
		y := l.tally
		y.mu.Lock()
		if bytes.Contains(buffer[:n], []byte("begin")) {
			y.begins++
		}
		for y.held {
			y.woken.Wait()
		}
		if y.cut >= 0 && l.ready {
			if l.left = y.cut; !y.forever {
				y.cut = -1
			}
		}
		now := l.left == 0
		y.mu.Unlock()
		if now {
			_ = l.client.Close()
			return
		}
		if _, err := l.server.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func (l *tallied) replies() {
	defer func() { _ = l.client.Close() }()
	for {
		header := make([]byte, 5)
		if _, err := io.ReadFull(l.server, header); err != nil {
			return
		}
		message := append(header, make([]byte, binary.BigEndian.Uint32(header[1:])-4)...)
		if _, err := io.ReadFull(l.server, message[5:]); err != nil {
			return
		}
		y := l.tally
		y.mu.Lock()
		if message[0] == 'Z' {
			l.ready, l.left = true, -1
			y.answers++
		}
		if l.left > 0 {
			l.left--
		}
		last := l.left == 0
		y.mu.Unlock()
		if _, err := l.client.Write(message); err != nil || last {
			return
		}
	}
}
