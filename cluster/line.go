//go:build linux

package main

import (
	"io"
	"net"
	"sync"
	"time"
)

// line is a network cable of a node's: everything that reaches it from outside,
// and etcd from it, goes through one.
type line struct {
	port   int
	target string

	mu    sync.Mutex
	cut   bool
	conns map[net.Conn]bool
}

func newLine(target int) (*line, error) {
	l := &line{port: freePort(), target: at(target), conns: map[net.Conn]bool{}}
	listener, err := net.Listen("tcp", at(l.port))
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go l.serve(client)
		}
	}()
	return l, nil
}

func (l *line) serve(client net.Conn) {
	defer l.forget(client)
	if !l.keep(client) {
		// Cut off: no answer, as from a host that nobody reaches.
		_, _ = io.Copy(io.Discard, client)
		return
	}
	server, err := net.DialTimeout("tcp", l.target, 3*time.Second)
	if err != nil {
		return
	}
	defer l.forget(server)
	if !l.keep(server) {
		return
	}
	go func() {
		l.pump(server, client)
		_ = server.Close()
	}()
	l.pump(client, server)
}

// pump copies until either ends; while the line is cut it holds what comes.
func (l *line) pump(to, from net.Conn) {
	buffer := make([]byte, 1<<16)
	for {
		n, err := from.Read(buffer)
		for l.isCut() {
			time.Sleep(20 * time.Millisecond)
		}
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// keep notes a connection; it is false on a line that is cut.
func (l *line) keep(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns[c] = true
	return !l.cut
}

func (l *line) forget(c net.Conn) {
	_ = c.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
}

func (l *line) isCut() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cut
}

// set cuts the line, or mends it; what was open before a cut is closed by the
// mend, as the two ends have long given up by then.
func (l *line) set(cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !cut && l.cut {
		for c := range l.conns {
			_ = c.Close()
		}
	}
	l.cut = cut
}
