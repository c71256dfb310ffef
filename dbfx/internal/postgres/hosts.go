package postgres

import (
	"context"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// target is one address of the settings.
type target struct {
	host, addr string
	cfg        *pgx.ConnConfig // for this address alone
	err        error           // its name has no address
}

// unboundedDial is the patience where the URL says connect_timeout=0.
const unboundedDial = 2 * time.Minute

// patience is how long one address may take.
func (c *connector) patience() time.Duration {
	timeout := c.opt.ConnectTimeout
	if seconds, err := strconv.Atoi(c.opt.Args["connect_timeout"]); err == nil {
		timeout = time.Duration(seconds) * time.Second
	}
	if timeout <= 0 {
		return unboundedDial
	}
	return timeout
}

// read reads the settings, and the files that they name, for the next dial: a
// certificate that was rotated counts from then on. While the files do not fit
// together, as in the middle of a rotation, what was read last does.
func (c *connector) read() ([]target, error) {
	cfg, err := c.opt.config()
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		c.parsed = split(cfg)
	} else if c.parsed == nil {
		return nil, err
	}
	return c.parsed, nil
}

// split makes a configuration for each host of cfg. With sslmode prefer and allow
// pgx has two ways to one host, next to each other.
func split(cfg *pgx.ConnConfig) []target {
	ways := append([]*pgconn.FallbackConfig{{Host: cfg.Host, Port: cfg.Port, TLSConfig: cfg.TLSConfig}}, cfg.Fallbacks...)
	var list []target
	for len(ways) > 0 {
		n := 1
		for n < len(ways) && ways[n].Host == ways[0].Host && ways[n].Port == ways[0].Port {
			n++
		}
		own := cfg.Copy()
		own.Host, own.Port, own.TLSConfig, own.Fallbacks = ways[0].Host, ways[0].Port, ways[0].TLSConfig, ways[1:n:n]
		list = append(list, target{host: ways[0].Host, addr: ways[0].Host, cfg: own})
		ways = ways[n:]
	}
	return list
}

// targets returns every address of every host, in the order of the settings. It
// waits no longer than headStart for a name when another one is known.
func (c *connector) targets(ctx context.Context) ([]target, error) {
	hosts, err := c.read()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.patience())
	defer cancel()
	type answer struct {
		i    int
		list []target
	}
	answers := make(chan answer, len(hosts))
	for i, host := range hosts {
		c.supply.work.Go(func() { answers <- answer{i, resolve(ctx, host)} })
	}
	lists := make([][]target, len(hosts))
	for i, host := range hosts {
		host.err = &net.DNSError{Err: "no answer", Name: host.host, IsTimeout: true}
		lists[i] = []target{host}
	}
	var patience <-chan time.Time
	for range hosts {
		select {
		case a := <-answers:
			lists[a.i] = a.list
			if patience == nil && a.list[0].err == nil {
				patience = time.After(headStart)
			}
			continue
		case <-patience:
		}
		break
	}
	return slices.Concat(lists...), nil
}

// resolve returns the addresses of a host.
func resolve(ctx context.Context, host target) []target {
	if strings.HasPrefix(host.host, "/") || strings.HasPrefix(host.host, "@") {
		return []target{host}
	}
	port := strconv.Itoa(int(host.cfg.Port))
	if net.ParseIP(host.host) != nil {
		host.addr = net.JoinHostPort(host.host, port)
		return []target{host}
	}
	found, err := host.cfg.LookupFunc(ctx, host.host)
	if err != nil || len(found) == 0 {
		host.err = err
		if err == nil {
			host.err = &net.DNSError{Err: "no address", Name: host.host, IsNotFound: true}
		}
		return []target{host}
	}
	var list []target
	for _, ip := range found {
		own := host
		own.addr = net.JoinHostPort(ip, port)
		own.cfg = host.cfg.Copy()
		own.cfg.LookupFunc = func(context.Context, string) ([]string, error) { return []string{ip}, nil }
		list = append(list, own)
	}
	return list
}

// hosts is what earlier dials found of the addresses.
type hosts struct {
	mu   sync.Mutex
	good string               // the address of the last success
	bad  map[string]time.Time // when an address last failed, until it succeeds
}

// badPause is how long an address that failed is tried after the others.
const badPause = 10 * time.Second

func (h *hosts) succeeded(addr string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.good = addr
	delete(h.bad, addr)
}

func (h *hosts) failed(addr string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.bad == nil {
		h.bad = map[string]time.Time{}
	}
	h.bad[addr] = time.Now()
}

func (h *hosts) suspect(addr string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, bad := h.bad[addr]
	return bad
}

// preferred reports whether the order of the hosts is the user's preference: any
// server will do, and the first one is to serve.
func (c *connector) preferred() bool {
	attrs := c.opt.Args["target_session_attrs"]
	return (attrs == "" || attrs == "any") && c.opt.Args["load_balance_hosts"] != "random"
}

// sort puts the targets into the order of their turns: an address that has just
// failed goes last, and the last good one first where the settings leave that
// open.
func (c *connector) sort(targets []target) []target {
	list := slices.Clone(targets)
	random := c.opt.Args["load_balance_hosts"] == "random"
	if random {
		rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	}
	c.hosts.mu.Lock()
	defer c.hosts.mu.Unlock()
	turn := func(t target) int {
		switch at, bad := c.hosts.bad[t.addr]; {
		case bad && time.Since(at) < badPause:
			return 2
		case t.addr == c.hosts.good && !random && !c.preferred():
			return 0
		}
		return 1
	}
	slices.SortStableFunc(list, func(a, b target) int { return turn(a) - turn(b) })
	return list
}
