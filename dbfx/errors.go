package dbfx

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/sergas/dbkit/dbfx/internal/engine"
)

// What Run and View return beside the errors of fn and of the driver.
var (
	// ErrClosed: the database is stopping or has stopped.
	ErrClosed = errors.New("dbfx: the database is closed")
	// ErrCheckoutTimeout: no connection came free within POOL_TIMEOUT. The error
	// is a *CheckoutTimeoutError.
	ErrCheckoutTimeout = errors.New("dbfx: no connection within POOL_TIMEOUT")
	// ErrCommitUnknown: COMMIT was sent and not answered; the data may be there
	// or not. The error is a *CommitUnknownError.
	ErrCommitUnknown = errors.New("dbfx: it is not known whether the transaction was committed")
	// ErrRolledBack: the transaction, or the scope, was dead before it could be
	// committed. The error is a *RolledBackError.
	ErrRolledBack = engine.ErrRolledBack
	// ErrSessionBusy: a session was used by two goroutines at once, or while a
	// session nested in it was open.
	ErrSessionBusy = errors.New("dbfx: the session is in use elsewhere")
	// ErrSessionDone: a session, or the context of one, was used after its end.
	ErrSessionDone = errors.New("dbfx: the session has ended")
	// ErrReadOnly: Run was called inside View.
	ErrReadOnly = errors.New("dbfx: Run inside View")
	// ErrDurable: a session that asked to be Durable was nested.
	ErrDurable = errors.New("dbfx: a durable session cannot be nested")
	// ErrOptions: an option does not fit where it was given.
	ErrOptions = errors.New("dbfx: session options")
)

var errNilFunc = fmt.Errorf("%w: fn is nil", ErrOptions)

// CheckoutTimeoutError says that no connection came free in time. It matches
// ErrCheckoutTimeout and never context.DeadlineExceeded: the caller's deadline
// has not passed.
type CheckoutTimeoutError struct {
	Waited time.Duration
	Stats  sql.DBStats
	Err    error // of the connection that was being opened, if any
}

// Error implements error.
func (e *CheckoutTimeoutError) Error() string {
	text := "dbfx: no connection within POOL_TIMEOUT: waited " + e.Waited.Round(time.Millisecond).String()
	if e.Stats.MaxOpenConnections > 0 {
		text += fmt.Sprintf(", %d of %d in use", e.Stats.InUse, e.Stats.MaxOpenConnections)
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Is makes errors.Is find ErrCheckoutTimeout.
func (e *CheckoutTimeoutError) Is(target error) bool { return target == ErrCheckoutTimeout }

// Unwrap returns the connection's error, unless it is only the end of the wait.
func (e *CheckoutTimeoutError) Unwrap() error { return unlessContext(e.Err) }

// Timeout implements net.Error's question: yes.
func (e *CheckoutTimeoutError) Timeout() bool { return true }

// CommitUnknownError says that COMMIT may have happened. It matches
// ErrCommitUnknown and never an error of a context, which a caller would read as
// "not committed".
type CommitUnknownError struct {
	Err error // what came instead of an answer
}

// Error implements error.
func (e *CommitUnknownError) Error() string {
	return ErrCommitUnknown.Error() + ": " + e.Err.Error()
}

// Is makes errors.Is find ErrCommitUnknown.
func (e *CommitUnknownError) Is(target error) bool { return target == ErrCommitUnknown }

// Unwrap returns the cause, unless it is a context's.
func (e *CommitUnknownError) Unwrap() error { return unlessContext(e.Err) }

// errLeft is what became of a session whose transaction was ended by a statement.
var errLeft = fmt.Errorf("a statement ended the transaction: %w", engine.ErrControl)

// otherCommitError is the error of a function that met an unknown commit of
// another session, on another database for one. Its own session is rolled back,
// and must not claim to be unknown.
type otherCommitError struct{ err error }

// ofOtherCommit keeps err, which a session's function returned, from being taken
// for what became of that session.
func ofOtherCommit(err error) error {
	if errors.Is(err, ErrCommitUnknown) {
		return &otherCommitError{err}
	}
	return err
}

// Error implements error.
func (e *otherCommitError) Error() string {
	return "dbfx: rolled back after another session's commit: " + e.err.Error()
}

// Is implements the question of errors.Is for all but ErrCommitUnknown.
func (e *otherCommitError) Is(target error) bool {
	return target != ErrCommitUnknown && errors.Is(e.err, target)
}

// As implements the question of errors.As for all but *CommitUnknownError.
func (e *otherCommitError) As(target any) bool {
	_, unknown := target.(**CommitUnknownError)
	return !unknown && errors.As(e.err, target)
}

// RolledBackError says that fn returned nil, or went on, in a transaction that
// was dead. It matches ErrRolledBack.
type RolledBackError struct {
	Err error // the first statement that failed
}

// Error implements error.
func (e *RolledBackError) Error() string {
	if e.Err == nil {
		return "dbfx: " + ErrRolledBack.Error()
	}
	return "dbfx: " + ErrRolledBack.Error() + ": " + e.Err.Error()
}

// Is makes errors.Is find ErrRolledBack.
func (e *RolledBackError) Is(target error) bool { return target == ErrRolledBack }

// Unwrap returns the first failure.
func (e *RolledBackError) Unwrap() error { return e.Err }

// unlessContext keeps an error from claiming that a context ended.
func unlessContext(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}
