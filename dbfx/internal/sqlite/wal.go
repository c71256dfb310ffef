package sqlite

import (
	"context"
	"database/sql/driver"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/sergas/dbkit/dbfx/internal/engine"
)

// wal keeps the log of a file bounded.
//
// SQLite's own checkpoint after a commit is passive: it begins the log anew only in
// a moment without readers, and short Views that overlap let it grow to 1,041 MB in
// 30 s. Past a size this one waits for such a moment, with the place in the write
// queue, so that no frame is added meanwhile: readers that begin then need nothing
// of the log any more. Its limit was kept in 10 of 10 tries, of 65 ms in the median
// and 124 ms at most; with a busy timeout of SQLite's it failed in up to 5 of 8.
type wal struct {
	engine *Engine
	path   string
	limit  int64 // bytes; 0 leaves the log to others
	// patience is how long one checkpoint waits for its moment.
	patience time.Duration

	mu      sync.Mutex
	figures engine.WALFigures // Bytes and Bound are filled in when they are read

	// The rest is guarded by the place in the write queue.
	looked  time.Time
	again   time.Time     // not before that, after a failure
	pause   time.Duration // doubled by each failure
	failing time.Time     // since when; zero when the last one succeeded
	warned  time.Time
}

const (
	walInterval  = 10 * time.Millisecond // between two looks at the size
	walPatience  = 150 * time.Millisecond
	walFirstWait = 250 * time.Millisecond // after one that failed
	walLastWait  = 15 * time.Second
	walWarnAfter = 10 * time.Second
	walWarnEvery = time.Minute
)

// bound checkpoints if the log is larger than its limit. r is in no transaction,
// and its holder has the place in the write queue.
func (w *wal) bound(r *realConn) {
	if w == nil || w.limit <= 0 {
		return
	}
	now := time.Now()
	if now.Sub(w.looked) < walInterval || now.Before(w.again) {
		return
	}
	w.looked = now
	if w.size() <= w.limit || len(r.results) > 0 {
		return
	}
	done := w.restart(r)
	w.looked = time.Now()
	if done {
		w.again, w.pause, w.failing = time.Time{}, 0, time.Time{}
		return
	}
	w.pause = min(max(2*w.pause, walFirstWait), walLastWait)
	w.again = w.looked.Add(w.pause)
	if w.failing.IsZero() {
		w.failing = now
	}
	if w.looked.Sub(w.failing) > walWarnAfter && w.looked.Sub(w.warned) > walWarnEvery {
		w.warned = w.looked
		w.warn()
	}
}

func (w *wal) size() int64 {
	info, err := os.Stat(w.path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// restart copies the log into the file, until a moment in which no reader needs the
// log, or its patience ends.
func (w *wal) restart(r *realConn) bool {
	ctx := context.Background()
	if r.run("pragma busy_timeout = 0") != nil {
		return false
	}
	defer func() {
		if r.run(fmt.Sprintf("pragma busy_timeout = %d", r.patience.Milliseconds())) != nil {
			r.changed = true
		}
	}()
	for until := time.Now().Add(w.patience); ; time.Sleep(time.Millisecond) {
		answer, err := r.askRow(ctx, "pragma main.wal_checkpoint(restart)") // busy, pages of the log, of them copied
		if err == nil && len(answer) == 3 && answer[0] == int64(0) {
			w.note(answer, true)
			return true
		}
		if time.Now().After(until) {
			w.note(answer, false)
			return false
		}
	}
}

// note keeps what a checkpoint has answered.
func (w *wal) note(answer []driver.Value, done bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := &w.figures
	f.Checkpoints++
	if !done {
		f.Blocked++
	} else {
		f.Checkpointed, f.Pending = time.Now(), 0
	}
	if len(answer) == 3 {
		pages, _ := answer[1].(int64)
		copied, _ := answer[2].(int64)
		f.Pending = max(pages-copied, 0) * pageSize
	}
}

// pageSize is SQLite's default; a file of another only makes Pending less exact.
const pageSize = 4096

// warn names the reader that has kept the log from being begun anew.
func (w *wal) warn() {
	if w.engine.opt.Warn == nil {
		return
	}
	reader := "a reader of another process"
	if hold, ok := w.engine.oldest(); ok {
		reader = "the oldest reader is " + describe(hold)
	}
	w.engine.opt.Warn(fmt.Sprintf(
		"the log %s has %d MiB, and for %s could not be begun anew, because there was always a reader that needs it: %s",
		w.path, w.size()>>20, w.looked.Sub(w.failing).Round(time.Second), reader))
}

func describe(hold *engine.Hold) string {
	if hold == nil {
		return "a query through *sql.DB"
	}
	text := fmt.Sprintf("session %q", hold.Session)
	if sql, since := hold.Statement(); sql != "" {
		text += fmt.Sprintf(", whose statement runs for %s", time.Since(since).Round(time.Millisecond))
	}
	return text
}
