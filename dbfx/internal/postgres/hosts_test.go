package postgres

import (
	"slices"
	"testing"
	"time"
)

// An address that has just failed goes last. The one that was good last goes first, also
// when the failure of the others was long ago, unless the order is the user's or chance.
func TestHosts_TheLastGoodOneGoesFirst(t *testing.T) {
	t.Parallel()
	long := time.Now().Add(-2 * badPause)
	tests := map[string]struct {
		giveArgs map[string]string
		giveBad  map[string]time.Time
		want     []string
	}{
		"read-write":          {map[string]string{"target_session_attrs": "read-write"}, nil, []string{"b", "a", "c"}},
		"failed long ago":     {map[string]string{"target_session_attrs": "primary"}, map[string]time.Time{"a": long}, []string{"b", "a", "c"}},
		"failed now":          {map[string]string{"target_session_attrs": "read-write"}, map[string]time.Time{"a": time.Now()}, []string{"b", "c", "a"}},
		"any":                 {nil, nil, []string{"a", "b", "c"}},
		"any, failed now":     {nil, map[string]time.Time{"a": time.Now()}, []string{"b", "c", "a"}},
		"any, the only good":  {nil, map[string]time.Time{"a": time.Now(), "c": time.Now()}, []string{"b", "a", "c"}},
		"any, failed and old": {nil, map[string]time.Time{"a": long}, []string{"a", "b", "c"}},
	}
	for name, tt := range tests {
		c := newConnector(&Options{Args: tt.giveArgs})
		c.hosts.succeeded("b")
		c.hosts.bad = tt.giveBad
		var got []string
		for _, t := range c.sort([]target{{addr: "a"}, {addr: "b"}, {addr: "c"}}) {
			got = append(got, t.addr)
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %v, want %v", name, got, tt.want)
		}
		_ = c.Close()
	}
}

// A random order stays one: the last good address would have every connection.
func TestHosts_ARandomOrderSpreads(t *testing.T) {
	t.Parallel()
	c := newConnector(&Options{Args: map[string]string{"target_session_attrs": "read-write", "load_balance_hosts": "random"}})
	defer func() { _ = c.Close() }()
	c.hosts.succeeded("b")
	first := map[string]bool{}
	for range 1000 {
		first[c.sort([]target{{addr: "a"}, {addr: "b"}})[0].addr] = true
	}
	if len(first) != 2 {
		t.Errorf("first is always %v", first)
	}
}
