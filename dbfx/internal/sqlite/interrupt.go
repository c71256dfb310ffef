package sqlite

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// interrupter interrupts a statement when its context ends.
//
// The driver does so for Exec and for the first step of a query, with a goroutine
// each time, and not for the rows that follow: a second row that needed long
// work ended 17.7 s after its context. It also calls a statement cancelled that was
// done when the context ended, and committed. So it gets a context without an end.
// An interrupter spans the whole result and costs no goroutine until the context
// ends.
//
// SQLite interrupts whatever runs on a connection. So this one strikes only while
// its own statement does: a result that is left open, with a context that has ended,
// would end the statements beside it.
type interrupter struct {
	db    uintptr
	stop  func() bool
	state atomic.Int32
}

// The states of an interrupter.
const (
	stepping     int32 = iota // its statement runs
	resting                   // its result waits to be read
	interrupting              // for an instant
	over                      // the context has ended while it rested, or the statement is done
)

// watch begins to watch ctx for a statement. SQLite does not interrupt a wait for
// another process's lock: see patiently.
func (r *realConn) watch(ctx context.Context) *interrupter {
	if ctx.Done() == nil {
		return nil
	}
	w := &interrupter{db: r.db}
	w.stop = context.AfterFunc(ctx, w.interrupt)
	return w
}

// interrupt runs until the statement rests or is over: SQLite forgets an interrupt
// that comes before the statement has begun.
func (w *interrupter) interrupt() {
	tls := libc.NewTLS()
	defer tls.Close()
	for {
		switch {
		case w.state.CompareAndSwap(stepping, interrupting):
			lib.Xsqlite3_interrupt(tls, w.db)
			w.state.Store(stepping)
			time.Sleep(time.Millisecond)
		case w.state.CompareAndSwap(resting, over), w.state.Load() == over:
			return
		}
	}
}

// step says that the statement runs on. It returns false when the context has
// ended.
func (w *interrupter) step() bool { return w == nil || w.state.CompareAndSwap(resting, stepping) }

// rest says that the statement does not run for now; no interrupt comes after it.
func (w *interrupter) rest() { w.leave(resting) }

func (w *interrupter) leave(next int32) {
	if w == nil {
		return
	}
	for !w.state.CompareAndSwap(stepping, next) {
		if s := w.state.Load(); s == over || s == resting && w.state.CompareAndSwap(resting, next) {
			return
		}
		runtime.Gosched() // it interrupts, for an instant
	}
}

// end ends the watch; no interrupt comes after it.
func (w *interrupter) end() {
	if w == nil || w.stop() {
		return
	}
	w.leave(over)
}

// because returns the context's error for a statement that was interrupted on
// its behalf. An interrupt ends all that is open on its connection.
func because(ctx context.Context, err error) error {
	if err == nil || primary(err) != codeInterrupt {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("a statement beside this one on its connection was cancelled, which ends both: %w", err)
}
