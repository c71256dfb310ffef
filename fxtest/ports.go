package fxtest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
)

// The ports of servers and lines are below those that the system gives away, for
// outgoing connections and to who listens on port 0: what has gone down must find its
// own port free when it comes up again.
const (
	firstPort = 20000
	morePorts = 12000
)

// ports knows which ports this process has given away. A server and a line keep theirs
// while they are down.
type ports struct {
	mu    sync.Mutex
	given map[int]bool
}

var ownPorts ports

// freePort returns a port of 127.0.0.1 that is free now, and that no other call returns.
func freePort() (int, error) { return ownPorts.next() }

func (p *ports) next() (port int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.given == nil || len(p.given) > morePorts/2 { // most of those have ended long ago
		p.given = map[int]bool{}
	}
	err = errors.New("no port is free")
	for range 1000 {
		port = firstPort + rand.IntN(morePorts)
		if p.given[port] {
			continue
		}
		var l net.Listener
		if l, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			p.given[port] = true
			return port, l.Close()
		}
	}
	return 0, err
}
