// Package outbox relays what happened to the audit trail.
package outbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/fx"
	"go.uber.org/zap"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/example/app/tokens"
)

// Source is where events wait.
type Source interface {
	Claim(ctx context.Context, limit int, lease time.Duration) ([]tokens.Event, error)
	Done(ctx context.Context, events []tokens.Event) error
	Forget(ctx context.Context, before time.Time) error
}

// Sink is where they go. It takes an event twice and keeps it once.
type Sink interface {
	Add(ctx context.Context, events []tokens.Event) error
}

const (
	batch  = 100
	lease  = time.Minute     // an instance that dies with events gives them back after it
	poll   = 2 * time.Second // the wake-up may have been another instance's, or lost
	keyAge = 24 * time.Hour  // how long an Idempotency-Key is known
)

// Relay tells the sink what happened, at least once and in the end.
type Relay struct {
	from Source
	to   Sink
	log  *zap.Logger
	wake chan struct{}
	stop context.CancelFunc
	done chan struct{}
}

// NewRelay returns a Relay that runs between the application's start and stop.
func NewRelay(lc fx.Lifecycle, from Source, to Sink, log *zap.Logger) *Relay {
	r := &Relay{from: from, to: to, log: log, wake: make(chan struct{}, 1), done: make(chan struct{})}
	lc.Append(fx.StartStopHook(r.start, r.end))
	return r
}

// Wake says that there is something to relay. It does not block.
func (r *Relay) Wake() {
	select {
	case r.wake <- struct{}{}:
	default: // it is awake
	}
}

func (r *Relay) start() {
	ctx, cancel := context.WithCancel(context.Background()) // the start's own context ends with it
	r.stop = cancel
	go r.run(ctx)
}

func (r *Relay) end(ctx context.Context) error {
	r.stop()
	select {
	case <-r.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *Relay) run(ctx context.Context) {
	defer close(r.done)
	tick := time.NewTicker(poll)
	defer tick.Stop()
	forget := time.NewTicker(time.Hour)
	defer forget.Stop()
	for ctx.Err() == nil {
		n, err := r.once(ctx)
		if err != nil && ctx.Err() == nil {
			r.log.Warn("relay", zap.String("error", err.Error())) // the events stay, and are tried again
		}
		if n == batch && err == nil {
			continue
		}
		select {
		case <-r.wake:
		case <-tick.C:
		case <-forget.C:
			if err := r.from.Forget(ctx, time.Now().Add(-keyAge)); err != nil {
				r.log.Warn("forget idempotency keys", zap.String("error", err.Error()))
			}
		case <-ctx.Done():
		}
	}
}

// once relays one batch. Between Add and Done lies the moment in which an event
// may be told twice. Events that could not be told are tried again when their
// lease has ended.
func (r *Relay) once(ctx context.Context) (int, error) {
	events, err := r.from.Claim(ctx, batch, lease)
	if err != nil || len(events) == 0 {
		return 0, err
	}
	told, err := r.tell(ctx, events)
	if len(told) > 0 {
		err = errors.Join(err, r.from.Done(ctx, told))
	}
	return len(told), err
}

// tell adds the events, and returns those that are there. One that the sink does
// not take keeps back no other: they then go one by one.
func (r *Relay) tell(ctx context.Context, events []tokens.Event) ([]tokens.Event, error) {
	err := r.to.Add(ctx, events)
	if err == nil {
		return events, nil
	}
	if len(events) == 1 || ctx.Err() != nil || dbfx.IsUnavailable(err) || dbfx.IsTimeout(err) {
		return nil, err
	}
	var told []tokens.Event
	var faults error
	for _, e := range events {
		one, err := r.tell(ctx, []tokens.Event{e})
		if dbfx.IsUnavailable(err) || dbfx.IsTimeout(err) {
			return told, errors.Join(faults, err)
		}
		if err != nil {
			faults = errors.Join(faults, fmt.Errorf("event %s: %w", e.ID, err))
		}
		told = append(told, one...)
	}
	return told, faults
}
