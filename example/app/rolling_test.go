package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sergas/dbkit/fxtest"
)

// drainDelay is how long an instance serves on after its SIGTERM, so that the balancer
// sees that it goes before it does.
const drainDelay = 2 * time.Second

// balancer sends requests to the processes whose /readyz is well, as the one in
// front of a service does.
type balancer struct {
	mu    sync.Mutex
	all   []*process
	ready []*process
	next  int
}

func (b *balancer) add(p *process) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all = append(b.all, p)
}

func (b *balancer) remove(p *process) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all = slices.DeleteFunc(b.all, func(other *process) bool { return other == p })
}

// look asks every process whether it is ready, until ctx ends.
func (b *balancer) look(ctx context.Context) {
	for ctx.Err() == nil {
		b.mu.Lock()
		all := slices.Clone(b.all)
		b.mu.Unlock()
		var ready []*process
		for _, p := range all {
			if code, _, err := p.call("GET", "/readyz", ""); err == nil && code == http.StatusOK {
				ready = append(ready, p)
			}
		}
		b.mu.Lock()
		b.ready = ready
		b.mu.Unlock()
		time.Sleep(20 * time.Millisecond)
	}
}

func (b *balancer) pick() *process {
	for {
		b.mu.Lock()
		if len(b.ready) > 0 {
			b.next++
			p := b.ready[b.next%len(b.ready)]
			b.mu.Unlock()
			return p
		}
		b.mu.Unlock()
		time.Sleep(time.Millisecond)
	}
}

// mayBeGone reports whether the process was told to stop, and has served for as long
// as it promised.
func (p *process) mayBeGone() bool {
	at := p.leaves.Load()
	return at != 0 && time.Now().UnixNano() >= at
}

func (b *balancer) has(p *process) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Contains(b.ready, p)
}

// TestServe_RollsWithoutAFailedRequest replaces the instances under load. The new
// one starts before the old one stops: on SQLite two processes then have one file.
func TestServe_RollsWithoutAFailedRequest(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		instances int
		env       func(t *testing.T) []string
	}{
		"postgresql": {2, func(t *testing.T) []string { return byParts(fxtest.Postgres(t)) }},
		"sqlite":     {1, func(*testing.T) []string { return nil }},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			env := append(tt.env(t), "HTTP_DRAIN_DELAY="+drainDelay.String())
			b := &balancer{}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var looking, load sync.WaitGroup
			running := make([]*process, tt.instances)
			for i := range running {
				running[i] = start(t, dir, env)
				b.add(running[i])
			}
			looking.Go(func() { b.look(ctx) })
			var stopping atomic.Bool
			var mu sync.Mutex
			var acknowledged []string
			for w := range 4 {
				load.Go(func() {
					for i := 0; !stopping.Load(); i++ {
						key := fmt.Sprintf("%d-%d", w, i)
						p := b.pick()
						code, body, err := p.callWith("POST", "/tokens", fmt.Sprintf(`{"name":%q}`, key), http.Header{"Idempotency-Key": {key}})
						if err != nil && p.mayBeGone() {
							i-- // the balancer was held up, and says nothing of the instance
							continue
						}
						if err != nil || code != http.StatusCreated {
							t.Errorf("request %s: got %d %v %v", key, code, body, err)
							return
						}
						mu.Lock()
						acknowledged = append(acknowledged, fmt.Sprint(body["id"]))
						mu.Unlock()
					}
				})
			}
			for i, old := range running {
				fresh := start(t, dir, env)
				b.add(fresh)
				for !b.has(fresh) {
					time.Sleep(time.Millisecond)
				}
				old.leaves.Store(time.Now().Add(drainDelay).UnixNano())
				old.stop(t)
				b.remove(old)
				running[i] = fresh
			}
			stopping.Store(true)
			load.Wait()
			cancel()
			looking.Wait()
			ids, err := running[0].ids()
			if err != nil {
				t.Fatal(err)
			}
			kept := map[string]bool{}
			for _, id := range ids {
				kept[id] = true
			}
			for _, id := range acknowledged {
				if !kept[id] {
					t.Errorf("the acknowledged token %s is lost", id)
				}
			}
			t.Logf("%d requests over %d restarts, none failed; %d tokens kept", len(acknowledged), tt.instances, len(ids))
			for _, p := range running {
				p.stop(t)
			}
		})
	}
}
