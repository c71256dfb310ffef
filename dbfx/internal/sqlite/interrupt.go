package sqlite

import (
	"context"
	"sync"
	"time"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// interrupter interrupts a statement when its context ends.
//
// The driver does so for Exec and for the first step of a query, with a goroutine
// each time, and not for the rows that follow: a second row that needed long
// work ended 17.7 s after its context. An interrupter spans the whole result and
// costs no goroutine until the context ends.
type interrupter struct {
	db   uintptr
	stop func() bool

	mu   sync.Mutex
	over bool
}

// watch begins to watch ctx for a statement, and returns the context to give to
// the driver. A statement that can wait for another process's lock keeps ctx too:
// SQLite does not interrupt that wait, and the driver's busy handler ends it.
func (r *realConn) watch(ctx context.Context, waits bool) (context.Context, *interrupter) {
	if ctx.Done() == nil {
		return ctx, nil
	}
	w := &interrupter{db: r.db}
	w.stop = context.AfterFunc(ctx, w.interrupt)
	if waits {
		return ctx, w
	}
	return context.WithoutCancel(ctx), w
}

// interrupt runs until the statement is over: SQLite forgets an interrupt that
// comes before the statement has begun.
func (w *interrupter) interrupt() {
	tls := libc.NewTLS()
	defer tls.Close()
	for {
		w.mu.Lock()
		if w.over {
			w.mu.Unlock()
			return
		}
		lib.Xsqlite3_interrupt(tls, w.db)
		w.mu.Unlock()
		time.Sleep(time.Millisecond)
	}
}

// end ends the watch; no interrupt comes after it.
func (w *interrupter) end() {
	if w == nil || w.stop() {
		return
	}
	w.mu.Lock()
	w.over = true
	w.mu.Unlock()
}

// because returns the context's error for a statement that was interrupted on
// its behalf.
func because(ctx context.Context, err error) error {
	if err != nil && primary(err) == codeInterrupt && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}
