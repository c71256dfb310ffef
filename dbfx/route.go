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
	backAt  atomic.Int64 // when the replicas are tried again, in Unix nanoseconds
}

// replicaPause is how long the primary stands in before the replicas are tried
// again.
const replicaPause = time.Second

// begin begins a transaction where it belongs: a View on a replica, if there is
// one that answers and is fresh enough, and all else on the primary.
func (w *work) begin(ctx context.Context) (*transaction, error) {
	s := w.sessions
	if !w.readOnly {
		return w.beginOn(ctx, s.write)
	}
	if !s.replica {
		return w.beginOn(ctx, s.read)
	}
	// A hot standby refuses serializable transactions, and only at the first query.
	if w.options.primary || w.options.isolation == sql.LevelSerializable || ctx.Value(primaryKey{}) != nil ||
		time.Now().UnixNano() < s.backAt.Load() {
		return w.beginOn(ctx, s.write)
	}
	tx, err := w.beginOn(ctx, s.read)
	if err == nil {
		if err = tx.fresh(); err == nil {
			return tx, nil
		}
		tx.rollback()
		tx.cancel(errSessionEnd)
		tx.release()
	}
	if ctx.Err() != nil || s.active.closing.Err() != nil || errors.Is(err, ErrOptions) || isFull(err) {
		return nil, err
	}
	s.backAt.Store(time.Now().Add(replicaPause).UnixNano())
	s.log.Warn("the primary stands in for the replicas", zap.String("reason", err.Error()))
	return w.beginOn(ctx, s.write)
}

// isFull reports whether err is the wait for a pool whose connections are all in
// use: that replica answers, and a second wait at the primary would not help.
func isFull(err error) bool {
	var timeout *CheckoutTimeoutError
	return errors.As(err, &timeout) && timeout.Err == nil && timeout.Stats.MaxOpenConnections > 0 &&
		timeout.Stats.InUse >= timeout.Stats.MaxOpenConnections
}

// fresh refuses a replica that lags too much.
func (tx *transaction) fresh() error {
	most := tx.sessions.maxLag
	if most <= 0 {
		return nil
	}
	lag, err := tx.sessions.engine.Lag(tx.ctx, tx.on())
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
