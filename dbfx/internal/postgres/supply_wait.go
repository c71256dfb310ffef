package postgres

import (
	"fmt"
	"time"
)

// waitError is the end of a wait for a connection that is still being dialled.
type waitError struct {
	ctx    error
	waited time.Duration
	last   error // of a dial before, nil if not known
}

func (e *waitError) Error() string {
	text := fmt.Sprintf("%s after %s without a connection to the server", e.ctx, e.waited.Round(time.Millisecond))
	if e.last != nil {
		text += ": " + e.last.Error()
	}
	return text
}

func (e *waitError) Unwrap() []error {
	if e.last == nil {
		return []error{e.ctx}
	}
	return []error{e.ctx, e.last}
}
