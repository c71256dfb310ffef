package fxtest

import "testing"

// TestPorts_NoneIsGivenAwayTwice: a server that is down has its port.
func TestPorts_NoneIsGivenAwayTwice(t *testing.T) {
	t.Parallel()
	var p ports
	seen := map[int]bool{}
	for range 1000 {
		port, err := p.next()
		if err != nil {
			t.Fatal(err)
		}
		if seen[port] || port < firstPort || port >= firstPort+morePorts {
			t.Fatalf("got %d, the number %d", port, len(seen)+1)
		}
		seen[port] = true
	}
}
