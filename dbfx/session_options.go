package dbfx

import (
	"context"
	"database/sql"
	"fmt"
	"time"
	"unicode/utf8"
)

// SessionOption changes one call of Run or View.
type SessionOption func(*sessionOptions)

type sessionOptions struct {
	isolation  sql.IsolationLevel
	durable    bool
	join       bool
	retry      *RetryPolicy
	idempotent bool
	timeout    time.Duration
	name       string
	primary    bool
	origin     uintptr // of the function that RunValue wraps; 0 is that of the session
}

// Isolation asks for a level. SQLite is always serializable and so accepts every
// level up to that; a level that the database does not have is refused. Nested,
// it must be the outer session's.
func Isolation(level sql.IsolationLevel) SessionOption {
	return func(o *sessionOptions) { o.isolation = level }
}

// Durable makes a nested call fail with ErrDurable: nil from this Run then means
// committed, wherever it is called.
func Durable() SessionOption { return func(o *sessionOptions) { o.durable = true } }

// Join makes a nested call part of the outer scope, without a savepoint and its
// two round trips; an error of it dooms that scope, whether the caller returns
// it or not. PostgreSQL slows down past 64 writing savepoints in a transaction:
// use Join in loops. It changes nothing where there is no outer session.
func Join() SessionOption { return func(o *sessionOptions) { o.join = true } }

// Retry runs fn again, in a new transaction, after an error that IsRetryable, at
// a statement or at COMMIT, also where fn wrapped it beyond recognition. fn must
// have no other effect than on the database. It is refused in a nested call:
// only a whole transaction can be repeated.
func Retry(p RetryPolicy) SessionOption { return func(o *sessionOptions) { o.retry = &p } }

// Idempotent lets Retry repeat fn also after a lost connection and an unknown
// commit, where it may already have happened. When no later attempt succeeds
// either, Run returns ErrCommitUnknown: the first may have been committed.
func Idempotent() SessionOption { return func(o *sessionOptions) { o.idempotent = true } }

// Timeout sets a deadline to the context of fn.
func Timeout(d time.Duration) SessionOption { return func(o *sessionOptions) { o.timeout = d } }

// Name names the session for logs, observers and whoever waits behind it. It should be
// one of a few that the program knows, never a text of a user. Bytes beyond the 200th
// are cut off.
func Name(name string) SessionOption {
	return func(o *sessionOptions) {
		if o.name = name; len(name) > mostName {
			o.name = cut(name)
		}
	}
}

// mostName is how many bytes of a session's name are kept: it stands in each line of
// the log, on the page, and in a label of each series.
const mostName = 200

// cut cuts name off between two letters.
func cut(name string) string {
	end := mostName
	for end > mostName-utf8.UTFMax && !utf8.RuneStart(name[end]) {
		end--
	}
	return name[:end] + "…"
}

// Primary makes View read from the primary, where there are replicas: what was
// just written is there.
func Primary() SessionOption { return func(o *sessionOptions) { o.primary = true } }

type primaryKey struct{}

// WithPrimary returns a context in which every View reads from the primary.
func WithPrimary(ctx context.Context) context.Context {
	return context.WithValue(ctx, primaryKey{}, true)
}

func collect(opts []SessionOption) (sessionOptions, error) {
	var o sessionOptions
	for _, opt := range opts {
		if opt != nil {
			opt(&o)
		}
	}
	if o.timeout < 0 {
		return o, fmt.Errorf("%w: Timeout: want at least 0, got %s", ErrOptions, o.timeout)
	}
	return o, nil
}
