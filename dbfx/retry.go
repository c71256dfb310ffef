package dbfx

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/sergas/dbkit/dbfx/internal/engine"
)

// RetryPolicy says how often and how soon Retry repeats. The zero value is a
// sensible policy.
type RetryPolicy struct {
	// MaxAttempts counts the first run too. 0 is 5.
	MaxAttempts int
	// Base and Max bound the pause before attempt n+1: a random time up to
	// Base·2ⁿ⁻¹, at most Max. 0 is 10 ms on PostgreSQL and 5 ms on SQLite, and 1 s.
	Base, Max time.Duration
	// Retryable adds errors of the program's own to those that IsRetryable. It is
	// not asked about an unknown commit.
	Retryable func(error) bool
}

func (p RetryPolicy) withDefaults(dialect string) RetryPolicy {
	if p.MaxAttempts <= 0 {
		p.MaxAttempts = 5
	}
	if p.Base <= 0 {
		p.Base = 10 * time.Millisecond
		if dialect == string(SQLite) {
			p.Base = 5 * time.Millisecond
		}
	}
	if p.Max <= 0 {
		p.Max = time.Second
	}
	return p
}

// repeat attempts fn until it succeeds or there is no sense in another try.
func (w *work) repeat(ctx context.Context) error {
	policy := RetryPolicy{MaxAttempts: 1}
	if w.options.retry != nil {
		policy = w.options.retry.withDefaults(w.sessions.engine.Dialect())
	}
	var unknown error // of a COMMIT that may have happened
	for n := 1; ; n++ {
		w.event.Attempts = n
		w.live.attempt.Store(int32(n)) //nolint:gosec // few
		result := w.attempt(ctx, n)
		err := result.err
		switch {
		case err == nil:
			return nil
		case errors.Is(err, ErrCommitUnknown):
			unknown = err
		case unknown != nil:
			err = stillUnknown(unknown, n, err)
		}
		if n >= policy.MaxAttempts || !w.again(result, policy) {
			return err
		}
		pause := rand.N(min(policy.Base<<min(n-1, 20), policy.Max) + 1)
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= pause {
			return err
		}
		w.retries(ctx, n, result.err, pause)
		timer := time.NewTimer(pause) // no connection is held meanwhile
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		case <-w.sessions.active.closing.Done():
			timer.Stop()
			return err
		}
	}
}

// stillUnknown is the error of the n-th attempt, err, after one whose COMMIT may
// have happened. Only its text says why the n-th failed: a caller who asks for
// ErrRolledBack, say, would take it for what became of both.
func stillUnknown(unknown error, n int, err error) error {
	var first *CommitUnknownError
	if errors.As(unknown, &first) {
		unknown = first.Err
	}
	return &CommitUnknownError{Err: fmt.Errorf("%w; attempt %d: %s", unknown, n, err)}
}

// again reports whether another attempt is allowed and may help.
func (w *work) again(result attemptResult, p RetryPolicy) bool {
	if errors.Is(result.err, ErrClosed) || errors.Is(result.err, ErrCheckoutTimeout) {
		return false
	}
	if errors.Is(result.err, ErrCommitUnknown) {
		return w.options.idempotent
	}
	for _, err := range []error{result.err, result.first} {
		if err == nil {
			continue
		}
		if p.Retryable != nil && p.Retryable(err) {
			return true
		}
		switch w.sessions.engine.Classify(err).Kind {
		case engine.Serialization:
			return true
		case engine.Lost:
			if w.options.idempotent || w.readOnly || !result.begun {
				return true
			}
		}
	}
	return false
}
