package dbfx

import (
	"context"
	"database/sql"
	"errors"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/sergas/dbkit/dbfx/internal/engine"
)

// lagging is what Sessions knows of the replicas.
type lagging struct {
	replica bool // read is a replica
	maxLag  time.Duration
	backAt  atomic.Int64 // the moment when the replicas are tried again; 0 while they are in use

	awayClass atomic.Pointer[string] // of what took them out of use last
}

// replicaPause is how long the primary stands in before the replicas are tried
// again.
const replicaPause = time.Second

// replicaPatience is how long a replica with a free place may take to begin.
const replicaPatience = 2 * time.Second

// begin begins a transaction where it belongs: a View on a replica, if there is
// one that answers and is fresh enough, and all else on the primary.
func (w *work) begin(ctx context.Context) (*transaction, error) {
	s := w.sessions
	start := time.Now()
	if !w.readOnly {
		return w.acquire(ctx, s.write, start)
	}
	if !s.replica {
		return w.acquire(ctx, s.read, start)
	}
	// A hot standby refuses serializable transactions, and only at the first query.
	if w.options.primary || w.options.isolation == sql.LevelSerializable || ctx.Value(primaryKey{}) != nil || !s.usable() {
		return w.acquire(ctx, s.write, start)
	}
	tx, err := w.acquire(ctx, s.read, start)
	if err == nil {
		s.backAt.Store(0)
		return tx, nil
	}
	if ctx.Err() != nil || s.active.closing.Err() != nil || errors.Is(err, ErrOptions) {
		s.meter.checkout(true, start, time.Now(), err)
		return nil, err
	}
	if !isFull(err) {
		s.away(err)
	}
	return w.acquire(ctx, s.write, start)
}

// away takes the replicas out of use for a while. The monitor tells it, once and not
// for each View that meets it.
func (s *Sessions) away(err error) {
	class := ErrorClass(err)
	if lag := (*lagError)(nil); errors.As(err, &lag) {
		class = "lag"
	}
	s.log.Debug("the replicas are out of use for a moment", zap.String("class", class))
	s.awayClass.Store(&class)
	s.backAt.Store(moment(time.Now().Add(replicaPause)))
}

// usable reports whether a View is to try the replicas. When they are out of use
// one View in a replicaPause tries them again: it alone pays if they are still
// hung.
func (l *lagging) usable() bool {
	at := l.backAt.Load()
	if at == 0 {
		return true
	}
	now := time.Now()
	return moment(now) >= at && l.backAt.CompareAndSwap(at, moment(now.Add(replicaPause)))
}

// isFull reports whether err is the wait for a pool whose connections are all in
// use: that replica answers.
func isFull(err error) bool {
	var timeout *CheckoutTimeoutError
	return errors.As(err, &timeout) && timeout.Err == nil && timeout.Stats.MaxOpenConnections > 0 &&
		timeout.Stats.InUse >= timeout.Stats.MaxOpenConnections
}

// fresh refuses a replica that lags too much. It is a part of the begin, and bounded
// with it.
func (tx *transaction) fresh() error {
	most := tx.sessions.maxLag
	if most <= 0 || !tx.pool.replica {
		return nil
	}
	lag, err := tx.sessions.engine.Lag(tx.ctx, tx.on())
	tx.sessions.meter.lag.Store(int64(lag))
	if err == nil && lag > most {
		err = &lagError{lag, most}
	}
	return err
}

// lagError says that a replica is too old.
type lagError struct{ lag, most time.Duration }

func (e *lagError) Error() string {
	return "a replica lags by " + e.lag.Round(time.Millisecond).String() + ", DATABASE_REPLICA_MAX_LAG is " + e.most.String()
}

var _ engine.Execer = (*Session)(nil)
