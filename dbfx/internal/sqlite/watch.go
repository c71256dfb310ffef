package sqlite

import (
	"context"
	"reflect"
	"sync"
	"time"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// watch interrupts a statement when its context ends.
//
// The driver does so for Exec and for the first step of a query, with a goroutine
// each time, and not for the rows that follow: a second row that needed long
// work ended 17.7 s after its context. A watch spans the whole result and costs
// no goroutine until the context ends.
type watch struct {
	db   uintptr
	stop func() bool

	mu   sync.Mutex
	over bool
}

// handle returns the sqlite3* of the driver's connection: 0 where a version of
// the driver keeps it elsewhere, and the driver's own watch is used. Reading a
// private field by reflection needs no unsafe; TestDriver_HasItsHandle pins it.
func handle(raw any) uintptr {
	v := reflect.ValueOf(raw)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		return 0
	}
	field := v.Elem().FieldByName("db")
	if !field.IsValid() || field.Kind() != reflect.Uintptr {
		return 0
	}
	return uintptr(field.Uint())
}

// watch begins to watch ctx for a statement, and returns the context to give to
// the driver. A write outside of a transaction stays the driver's to watch: it
// can wait for another process's lock, and SQLite does not interrupt that wait.
func (c *conn) watch(ctx context.Context, waits bool) (context.Context, *watch) {
	if ctx.Done() == nil || c.db == 0 || waits {
		return ctx, nil
	}
	w := &watch{db: c.db}
	w.stop = context.AfterFunc(ctx, w.interrupt)
	return context.WithoutCancel(ctx), w
}

// interrupt runs until the statement is over: SQLite forgets an interrupt that
// comes before the statement has begun.
func (w *watch) interrupt() {
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
func (w *watch) end() {
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
