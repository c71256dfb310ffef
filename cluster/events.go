//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"time"
)

// event is one thing that happens to a cluster.
type event struct {
	name, what string
	do         func(ctx context.Context, s *stack) error
}

// away is how long a primary is frozen or cut off: well past Patroni's ttl of 20 s.
const away = 40 * time.Second

var allEvents = []event{
	{name: "switchover", what: "the operator moves the primary", do: switchover},
	{name: "kill", what: "kill -9 of the primary's Patroni and PostgreSQL", do: func(ctx context.Context, s *stack) error {
		return s.toLeader(ctx, func(n *node) { n.kill() }, func(n *node) error { return s.startNode(n) })
	}},
	{name: "freeze", what: "SIGSTOP of the primary's Patroni and PostgreSQL", do: func(ctx context.Context, s *stack) error {
		return s.toLeader(ctx, func(n *node) { n.freeze(true) }, func(n *node) error { n.freeze(false); return nil })
	}},
	{name: "cut", what: "the primary is cut off from clients, standbys and etcd", do: func(ctx context.Context, s *stack) error {
		return s.toLeader(ctx, func(n *node) { n.cutOff(true) }, func(n *node) error { n.cutOff(false); return nil })
	}},
	{name: "restart", what: "kill -9 of all three nodes, and a start", do: restart},
}

func eventNames() (names []string) {
	for _, e := range allEvents {
		names = append(names, e.name)
	}
	return names
}

// toLeader does something to the primary, and undoes it later, while the play
// goes on.
func (s *stack) toLeader(ctx context.Context, do func(*node), undo func(*node) error) error {
	n, err := s.leader(ctx)
	if err != nil {
		return err
	}
	s.taken = n
	do(n)
	s.undo = make(chan error, 1)
	go func() {
		settle(ctx, away)
		s.undo <- undo(n)
	}()
	return nil
}

func switchover(ctx context.Context, s *stack) error {
	n, err := s.leader(ctx)
	if err != nil {
		return err
	}
	s.taken = n
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+at(n.rest)+"/switchover", bytes.NewBufferString(fmt.Sprintf(`{"leader": %q}`, n.name)))
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode >= 300 {
		return fmt.Errorf("the answer of Patroni is %s", response.Status)
	}
	return nil
}

func restart(ctx context.Context, s *stack) error {
	s.taken = nil // any of them may be the next
	for _, n := range s.nodes {
		n.kill()
	}
	for _, n := range s.nodes {
		if err := s.startNode(n); err != nil {
			return err
		}
	}
	return nil
}
