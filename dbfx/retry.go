package dbfx

import (
	"context"
	"errors"
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
func (s *Sessions) repeat(ctx context.Context, fn func(context.Context, *Session) error, o sessionOptions, readOnly bool, u *unit) error {
	policy := RetryPolicy{MaxAttempts: 1}
	if o.retry != nil {
		policy = o.retry.withDefaults(s.engine.Dialect())
	}
	for n := 1; ; n++ {
		u.event.Attempts = n
		out := s.attempt(ctx, fn, o, readOnly, n, u)
		u.event.Wait += out.wait
		if out.err == nil || n >= policy.MaxAttempts || !s.again(out, policy, o, readOnly) {
			return out.err
		}
		pause := rand.N(min(policy.Base<<min(n-1, 20), policy.Max) + 1)
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= pause {
			return out.err
		}
		timer := time.NewTimer(pause) // no connection is held meanwhile
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return out.err
		case <-s.drain.closing.Done():
			timer.Stop()
			return out.err
		}
	}
}

// again reports whether another attempt is allowed and may help.
func (s *Sessions) again(out outcome, p RetryPolicy, o sessionOptions, readOnly bool) bool {
	if errors.Is(out.err, ErrClosed) || errors.Is(out.err, ErrCheckoutTimeout) {
		return false
	}
	if errors.Is(out.err, ErrCommitUnknown) {
		return o.idempotent
	}
	for _, err := range []error{out.err, out.first} {
		if err == nil {
			continue
		}
		if p.Retryable != nil && p.Retryable(err) {
			return true
		}
		switch s.engine.Classify(err).Kind {
		case engine.Serialization:
			return true
		case engine.Lost:
			if o.idempotent || readOnly {
				return true
			}
		}
	}
	return false
}
