package migrate

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"go.uber.org/zap"

	"github.com/sergas/dbkit/dbfx"
)

// waiting paces the tries of one migration.
type waiting struct {
	m     *Migrator
	log   *zap.Logger
	since time.Time
	told  time.Time
	tries int
}

// forLock waits a moment for the process that migrates. The lock is free again
// after each migration, so the moment is short.
func (w *waiting) forLock(ctx context.Context) error {
	now := time.Now()
	if w.since.IsZero() {
		w.since, w.told = now, now.Add(-sayEvery+500*time.Millisecond)
	}
	if now.Sub(w.told) > sayEvery {
		w.told = now
		w.log.Info("waiting for another process that migrates", zap.Duration("since", now.Sub(w.since)),
			zap.String("who", w.m.rules.holder(ctx)))
	}
	return pause(ctx, 20*time.Millisecond, 100*time.Millisecond)
}

// again waits before the next try of what failed for now, longer each time.
func (w *waiting) again(ctx context.Context, s *step, err error) error {
	w.tries++
	shift := min(w.tries-1, 6)
	least := 100 * time.Millisecond << shift
	fields := []zap.Field{zap.Int("try", w.tries), zap.Error(err)}
	what := "the migration could not get what it needs, was rolled back"
	if errors.Is(err, dbfx.ErrCommitUnknown) {
		what = "the migration lost the answer to its COMMIT"
	}
	if s != nil {
		s.mu.Lock()
		fields = append(fields, zap.Duration("took", time.Since(s.begin)), zap.String("waited_for", s.waits))
		s.mu.Unlock()
	}
	w.log.Warn(what+" and is tried again", fields...)
	return pause(ctx, least/2, least)
}

// sayEvery is how often a wait is told.
const sayEvery = 3 * time.Second

// pause waits for a random time between least and most.
func pause(ctx context.Context, least, most time.Duration) error {
	timer := time.NewTimer(least + rand.N(most-least))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// watch looks at a step that runs: what it waits for, and that it still runs.
func (m *Migrator) watch(ctx context.Context, s *step) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		// A wait for a lock ends with the lock timeout: look often enough to see it.
		next := max(m.opt.lockTimeout/8, 10*time.Millisecond)
		told := time.Now()
		for {
			if pause(ctx, next, next+time.Millisecond) != nil {
				return
			}
			look, done := context.WithTimeout(ctx, cleanup)
			waits := m.rules.watch(look, s)
			done()
			s.mu.Lock()
			if waits != "" {
				s.waits = waits
			}
			s.mu.Unlock()
			if time.Since(told) > sayEvery {
				told = time.Now()
				stmt, _ := s.current()
				m.log.Info("still migrating", file(s), zap.Int("line", stmt.line), zap.Duration("since", time.Since(s.begin)), zap.String("waits_for", waits))
			}
			if time.Since(s.begin) > 2*m.opt.lockTimeout {
				next = min(next*2, sayEvery)
			}
		}
	}()
	return func() {
		cancel()
		<-ended
	}
}

func file(s *step) zap.Field { return zap.String("file", s.mig.file) }
