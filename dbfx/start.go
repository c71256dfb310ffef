package dbfx

import (
	"context"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"
)

// startGuard lets Close wait for a start that is under way.
type startGuard struct {
	mu    sync.Mutex
	ended chan struct{} // closed at its end; nil before
}

// begin returns what tells the end of the start, nil where Close was called before.
func (g *startGuard) begin(closing context.Context) (end func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if closing.Err() != nil {
		return nil
	}
	ended := make(chan struct{})
	g.ended = ended
	return func() { close(ended) }
}

// wait waits for the start, up to ctx.
func (g *startGuard) wait(ctx context.Context) {
	g.mu.Lock()
	ended := g.ended
	g.mu.Unlock()
	if ended != nil {
		wait(ctx, ended)
	}
}

// start opens the first connections. It closes everything when it fails. A Close
// meanwhile ends it, and it returns ErrClosed.
func (d *Database) start(ctx context.Context) error {
	end := d.starting.begin(d.active.closing)
	if end == nil {
		return fmt.Errorf("%w: it was stopped; a second start needs a new one", ErrClosed)
	}
	defer end()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(d.active.closing, cancel)()
	err := d.startWith(ctx)
	if err == nil {
		return nil
	}
	if d.active.closing.Err() != nil {
		err = fmt.Errorf("%w during its start: %w", ErrClosed, err)
	}
	_ = d.abort()
	return err
}

func (d *Database) startWith(ctx context.Context) error {
	if d.sessions == nil { // no one in the graph asked for them; the monitor does
		d.assemble(d.main)
	}
	for _, warning := range d.engine.Warnings() {
		d.log.Warn(warning)
	}
	bounded, cancel := d.startContext(ctx)
	defer cancel()
	begin := time.Now()
	err := d.engine.Prepare(bounded)
	if err == nil {
		err = d.connect(bounded, begin)
	}
	if err == nil {
		err = d.runStarters(ctx)
	}
	if err == nil { // Fx stops nothing of a start whose context has ended
		err = context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("dbfx: %w", err)
	}
	d.health.answered.CompareAndSwap(0, time.Now().UnixNano())
	d.started.Store(true)
	d.trim.start(d.main, d.engine.Main())
	if reader := d.engine.Reader(); reader.Replica {
		d.trim.start(d.reader, reader)
	}
	d.monitor.start()
	d.events.keep(Event{Kind: EventStarted, Text: "the database has started", Duration: time.Since(begin)})
	d.log.Info("database started",
		zap.String("engine", d.engine.Dialect()),
		zap.String("where", d.engine.Where()),
		zap.Int("max_connections", d.main.Stats().MaxOpenConnections),
		zap.Duration("pool_timeout", d.cfg.PoolTimeout),
		zap.Duration("took", time.Since(begin)))
	return nil
}

// startContext is the one deadline over all tries: it leaves a fifth of the
// caller's, so that the reason is told and not only that time is up.
func (d *Database) startContext(ctx context.Context) (context.Context, context.CancelFunc) {
	budget := d.cfg.StartTimeout
	if deadline, ok := ctx.Deadline(); ok {
		most := time.Until(deadline) * 4 / 5
		if budget == 0 || budget > most {
			budget = most
		}
	}
	if budget == 0 {
		budget = 15 * time.Second // Fx's own default
	}
	return context.WithTimeout(ctx, budget)
}

// connect tries until the database answers or cannot be expected to. It gives up
// with the reason of the last try that ended by itself: the deadline cuts a try
// short, and 'no answer in time' would hide 'too many connections'.
func (d *Database) connect(ctx context.Context, begin time.Time) error {
	told := time.Now()
	var reason error
	for pause := 25 * time.Millisecond; ; pause = min(2*pause, 500*time.Millisecond) {
		err := d.try(ctx)
		if err == nil {
			return nil
		}
		explained, later := d.engine.StartError(err)
		if !later {
			return explained
		}
		if reason == nil || ctx.Err() == nil {
			reason = explained
		}
		if time.Since(told) > 3*time.Second {
			told = time.Now()
			d.log.Warn("waiting for the database", zap.Duration("since", time.Since(begin)), zap.String("reason", explained.Error()))
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("gave up after %s: %w", time.Since(begin).Round(time.Millisecond), reason)
		}
	}
}

// try opens the handle before the reader: it makes the WAL.
func (d *Database) try(ctx context.Context) error {
	if err := d.main.PingContext(ctx); err != nil {
		return err
	}
	notes, err := d.engine.Verify(ctx, d.main)
	if err != nil {
		return err
	}
	if d.reader != nil {
		err := d.reader.PingContext(ctx)
		if err != nil && !d.engine.Reader().Replica {
			return err
		}
		if err != nil {
			d.log.Warn("no replica answers; the primary stands in", zap.String("reason", err.Error()))
		}
	}
	for _, note := range notes {
		d.log.Warn(note)
	}
	return nil
}
