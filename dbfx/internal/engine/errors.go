package engine

import (
	"errors"
	"fmt"
	"time"
)

// Sentinels that the engines return and dbfx exports.
var (
	ErrRolledBack = errors.New("transaction was rolled back")
	ErrLostReply  = errors.New("the connection was lost before the reply; the statement may have run")
	ErrLost       = errors.New("the connection is lost")
	ErrRowsOpen   = errors.New("rows of an earlier query are open on this connection: read them to the end or close them first")
)

// EndedError is the answer to a statement in a transaction that the database has
// ended by itself: without it the statement would run, and stay, outside.
type EndedError struct {
	First error // the statement that ended it, nil if not known
}

// Error implements error.
func (e *EndedError) Error() string {
	if e.First == nil {
		return "the database has ended the transaction; nothing more runs in it"
	}
	return "the database has ended the transaction; nothing more runs in it: " + e.First.Error()
}

// Unwrap returns the statement's error.
func (e *EndedError) Unwrap() error { return e.First }

// Is makes errors.Is find ErrRolledBack.
func (e *EndedError) Is(target error) bool { return target == ErrRolledBack }

// LockedError is a write that waited too long for the write lock.
type LockedError struct {
	Waited time.Duration
	Holder string        // who holds the lock
	Held   time.Duration // for how long
	Advice string
	Err    error // the database's own error, if it was asked
}

// Error implements error.
func (e *LockedError) Error() string {
	text := fmt.Sprintf("database is locked: waited %s for the write lock", e.Waited.Round(time.Millisecond))
	if e.Holder != "" {
		text += fmt.Sprintf(", held for %s by %s", e.Held.Round(time.Millisecond), e.Holder)
	}
	if e.Advice != "" {
		text += "; " + e.Advice
	}
	return text
}

// Unwrap returns the database's error.
func (e *LockedError) Unwrap() error { return e.Err }
