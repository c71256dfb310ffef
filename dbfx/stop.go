package dbfx

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"time"

	"go.uber.org/zap"

	"github.com/sergas/dbkit/dbfx/internal/engine"
)

// Close drains and closes the database, as the module does on stop: new sessions
// get ErrClosed, those that wait for a connection too, and those that run may
// finish, with what is nested in them. Shortly before the deadline of ctx, or
// after DRAIN_TIMEOUT where it has none, the contexts of what is left are
// cancelled with the cause ErrClosed. It returns an error that counts those. A
// second call waits for the first and returns the same. A start that is under way
// ends, and Close waits for it.
func (d *Database) Close(ctx context.Context) error {
	d.closed.Do(func() {
		defer close(d.done)
		d.closing = d.shutdown(ctx)
	})
	<-d.done
	return d.closing
}

func (d *Database) shutdown(ctx context.Context) error {
	begin := time.Now()
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d.cfg.DrainTimeout)
		defer cancel()
	}
	wasRunning, ended := d.active.close()
	d.starting.wait(ctx)
	d.trim.end()
	d.monitor.end(ctx)
	d.events.keep(Event{Kind: EventStopping, Text: "the database stops: sessions may finish", Waiting: wasRunning})
	if d.main == nil {
		return nil
	}
	deadline, _ := ctx.Deadline()
	soft, cancel := context.WithTimeout(ctx, time.Until(deadline)-grace(time.Until(deadline)))
	defer cancel()

	cut := 0
	if !wait(soft, ended) || !d.idle(soft) {
		if cut = d.active.cutAll(); cut > 0 {
			wait(ctx, ended)
		}
		d.active.killAll(ctx)
	}
	left := d.inUse()
	if d.started.Load() && left == 0 && ctx.Err() == nil {
		if err := d.engine.Finish(ctx, d.main); err != nil {
			d.log.Debug("last tuning before the close", zap.Error(err))
		}
	}
	err := d.closeHandles(ctx)
	d.events.keep(Event{Kind: EventStopped, Text: fmt.Sprintf("the database has stopped: %d sessions finished, %d were cut", wasRunning-cut, cut)})
	d.log.Info("database stopped",
		zap.Int("finished", wasRunning-cut), zap.Int("cut", cut), zap.Int("connections_left", left),
		zap.Duration("took", time.Since(begin)), zap.Error(err))
	switch {
	case cut > 0:
		return fmt.Errorf("dbfx: stop cut off %d of %d sessions; raise the stop timeout or DRAIN_TIMEOUT", cut, wasRunning)
	case left > 0:
		return fmt.Errorf("dbfx: stop left %d connections in use outside of sessions", left)
	case err != nil:
		return fmt.Errorf("dbfx: close: %w", err)
	}
	return nil
}

// closeHandles closes the handles and does not wait for ever: each connection to
// a server that has vanished takes five seconds to say goodbye.
func (d *Database) closeHandles(ctx context.Context) error {
	deadline, _ := ctx.Deadline()
	timer := time.NewTimer(max(time.Until(deadline), time.Second))
	defer timer.Stop()
	result := make(chan error, 1)
	go func() { result <- d.abort() }()
	select {
	case err := <-result:
		return err
	case <-timer.C:
		return errors.New("connections are still being closed")
	}
}

// wait reports whether ended was closed before ctx.
func wait(ctx context.Context, ended <-chan struct{}) bool {
	select {
	case <-ended:
		return true
	case <-ctx.Done():
		return false
	}
}

// idle waits until no connection is in use: sql.DB.Close does not wait for the
// users of a bare *sql.DB, and tells no one when they end.
func (d *Database) idle(ctx context.Context) bool {
	for pause := time.Millisecond; d.inUse() > 0; pause = min(2*pause, 50*time.Millisecond) {
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return false
		}
	}
	return true
}

func (d *Database) inUse() int {
	n := d.main.Stats().InUse
	if d.reader != nil {
		n += d.reader.Stats().InUse
	}
	return n
}

// abort closes the handles at once. The readers go first: the last connection
// to close must be one that may checkpoint.
func (d *Database) abort() error {
	d.active.stop()
	var errs []error
	for _, db := range []*sql.DB{d.reader, d.main} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	for _, h := range []engine.Handle{d.engine.Reader(), d.engine.Main()} {
		if c, ok := h.Connector.(io.Closer); ok { // an Opener may hide it from sql.DB.Close
			errs = append(errs, c.Close())
		}
	}
	return errors.Join(errs...)
}
