package fxtest_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// door is a host that takes connections and passes nothing on until it is opened.
type door struct {
	port  int
	dials atomic.Int64

	mu   sync.Mutex
	gate chan struct{} // closed while the door is open
}

func (d *door) open() {
	d.mu.Lock()
	defer d.mu.Unlock()
	close(d.gate)
}

// shut makes the next connections wait.
func (d *door) shut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.gate = make(chan struct{})
}

func doorTo(t *testing.T, port int) *door {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	d := &door{port: l.Addr().(*net.TCPAddr).Port, gate: make(chan struct{})}
	var wg sync.WaitGroup
	pass := func(client net.Conn, gate <-chan struct{}) {
		defer func() { _ = client.Close() }()
		select {
		case <-ended:
			return
		case <-gate:
		}
		server, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			return
		}
		stop := context.AfterFunc(t.Context(), func() { _ = server.Close() })
		defer stop()
		wg.Go(func() {
			_, _ = io.Copy(client, server)
			_ = client.Close()
		})
		_, _ = io.Copy(server, client)
		_ = server.Close()
	}
	wg.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			d.dials.Add(1)
			d.mu.Lock()
			gate := d.gate
			d.mu.Unlock()
			wg.Go(func() { pass(client, gate) })
		}
	})
	t.Cleanup(func() {
		close(ended)
		_ = l.Close()
		wg.Wait()
	})
	return d
}

// frozenHost is what a host looks like that was stopped.
func frozenHost(t *testing.T) *door { return doorTo(t, 0) }
