//go:build linux

package main

import (
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// probe asks each node by itself, past its lines, since when it is a primary that
// takes writes.
type probe struct {
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu    sync.Mutex
	wrote map[*node][]time.Time
}

func startProbe(ctx context.Context, nodes []*node) *probe {
	ctx, cancel := context.WithCancel(ctx)
	p := &probe{cancel: cancel, wrote: map[*node][]time.Time{}}
	for _, n := range nodes {
		p.wg.Go(func() {
			for ctx.Err() == nil {
				p.watch(ctx, n)
				settle(ctx, 50*time.Millisecond)
			}
		})
	}
	return p
}

// watch writes to one node until that fails. A standby refuses.
func (p *probe) watch(ctx context.Context, n *node) {
	dial, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	conn, err := pgx.Connect(dial, "postgres://postgres@"+at(n.postgres)+"/postgres?sslmode=disable&target_session_attrs=read-write")
	if err != nil {
		return
	}
	defer func() { _ = conn.Close(context.Background()) }()
	for ctx.Err() == nil {
		try, cancel := context.WithTimeout(ctx, time.Second)
		_, err := conn.Exec(try, "create table if not exists probe (at timestamptz); insert into probe values (clock_timestamp())")
		cancel()
		if err != nil {
			return
		}
		p.mu.Lock()
		p.wrote[n] = append(p.wrote[n], time.Now())
		p.mu.Unlock()
		settle(ctx, 50*time.Millisecond)
	}
}

// writableAfter waits for the first write after an event on a node other than
// the one that the event took.
func (p *probe) writableAfter(ctx context.Context, event time.Time, taken *node) time.Time {
	for deadline := time.Now().Add(2 * time.Minute); ctx.Err() == nil && time.Now().Before(deadline); settle(ctx, 20*time.Millisecond) {
		var first time.Time
		p.mu.Lock()
		for n, times := range p.wrote {
			for _, at := range times {
				if n != taken && at.After(event) && (first.IsZero() || at.Before(first)) {
					first = at
				}
			}
		}
		p.mu.Unlock()
		if !first.IsZero() {
			return first
		}
	}
	return time.Time{}
}

func (p *probe) end() {
	p.cancel()
	p.wg.Wait()
}
