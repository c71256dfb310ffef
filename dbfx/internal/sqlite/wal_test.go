package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sergas/dbkit/dbfx/internal/engine"
)

// written makes each write one of other bytes: SQLite does not write what is the
// same.
var written atomic.Int64

// write adds about 100 kB to the log.
func write(t *testing.T, db *sql.DB) {
	t.Helper()
	mustExec(t, db, "update t set b = ?", bytes.Repeat([]byte{byte(written.Add(1))}, 100_000))
}

var sqlReadOnly = driver.TxOptions{ReadOnly: true}

// openLog opens a database whose log is bounded.
func openLog(t *testing.T, limit int64, warn func(string)) (*sql.DB, *Engine) {
	t.Helper()
	e := New(Options{
		Path: filepath.Join(t.TempDir(), "a.db"), Setting: "DATABASE_PATH", FileMode: 0o600, BusyTimeout: time.Minute, StatementCache: 8,
		Pragmas: pragmas, ReadPragmas: pragmas, WALBytes: limit, Warn: warn, ReadKeeper: true,
	})
	db := e.Main().Open(sql.OpenDB)
	t.Cleanup(func() { _ = db.Close() })
	mustExec(t, db, "create table t (a integer primary key, b blob); insert into t values (1, zeroblob(100000))")
	return db, e
}

// TestWAL_StaysBoundedBesideReadersThatOverlap: there is never a moment without a
// reader, and SQLite's own checkpoint never gets to begin the log anew. How long a
// reader takes is chance on a busy machine, so the checkpoint waits for each.
func TestWAL_StaysBoundedBesideReadersThatOverlap(t *testing.T) {
	t.Parallel()
	const limit = 1 << 20
	db, e := openLog(t, limit, nil)
	e.wal.patience = time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var reads atomic.Int64
	for range 3 {
		wg.Go(func() {
			for ctx.Err() == nil {
				tx, err := db.BeginTx(t.Context(), &sql.TxOptions{ReadOnly: true})
				if err != nil {
					t.Error(err)
					return
				}
				_ = text(t, tx, "select count(*) from t")
				time.Sleep(5 * time.Millisecond)
				_ = tx.Rollback()
				reads.Add(1)
			}
		})
	}
	peak := int64(0)
	const writes = 12 * limit / 100_000
	for range writes {
		e.wal.looked = time.Time{} // each write looks
		write(t, db)
		peak = max(peak, e.wal.size())
	}
	cancel()
	wg.Wait()
	f := e.Figures().WAL
	if peak > 2*limit || f.Checkpoints == 0 || f.Blocked != 0 { // without a bound it is 12 times the limit
		t.Errorf("the log grew to %d bytes in %d writes beside %d reads: %+v", peak, writes, reads.Load(), f)
	}
}

func TestWAL_AReaderThatStaysIsNamed(t *testing.T) {
	t.Parallel()
	const limit = 1 << 20
	var warning string
	db, e := openLog(t, limit, func(text string) { warning = text })
	reader, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reader.Close() }()
	hold := &engine.Hold{Session: "nightly report"}
	raw(t, reader, func(c *conn) {
		if err := c.Start(t.Context(), hold, sqlReadOnly); err != nil {
			t.Fatal(err)
		}
	})
	_ = text(t, reader, "select count(*) from t")
	for e.wal.failing.IsZero() {
		e.wal.looked = time.Time{} // however fast the writes are
		write(t, db)
	}
	if size := e.wal.size(); size <= limit || warning != "" {
		t.Fatalf("it began to fail at %d bytes, and warned %q", size, warning)
	}
	e.wal.failing, e.wal.again = e.wal.failing.Add(-walWarnAfter), time.Time{} // it has failed for long
	for warning == "" {
		e.wal.looked = time.Time{}
		write(t, db)
	}
	if !strings.Contains(warning, `the oldest reader is session "nightly report"`) || !strings.Contains(warning, "-wal") {
		t.Errorf("got %q", warning)
	}
	raw(t, reader, func(c *conn) { _ = c.Rollback(t.Context()); c.Unbind() })
	e.wal.again = time.Time{}
	for e.wal.failing != (time.Time{}) {
		e.wal.looked = time.Time{}
		write(t, db)
	}
}

// TestWAL_OnlyItsOwnFileIsCheckpointed: the log of an attached database is of no
// concern to the limit, and its reader must not make the checkpoint fail.
func TestWAL_OnlyItsOwnFileIsCheckpointed(t *testing.T) {
	t.Parallel()
	db, e := openLog(t, 1<<20, nil)
	beside, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "beside.db")+"?_pragma=journal_mode(wal)")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = beside.Close() }()
	mustExec(t, beside, "create table x (a)")
	reader, err := beside.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reader.Rollback() }()
	_ = text(t, reader, "select count(*) from x")
	var path string
	if err := beside.QueryRowContext(t.Context(), "select file from pragma_database_list").Scan(&path); err != nil {
		t.Fatal(err)
	}
	mustExec(t, beside, "insert into x values (1)") // which the reader does not see
	c := pin(t, db)
	mustExec(t, c, "attach ? as beside", path)
	for range 30 {
		e.wal.looked = time.Time{}
		if _, err := c.ExecContext(t.Context(), "update t set b = ?", strings.Repeat(fmt.Sprint(written.Add(1)%10), 100_000)); err != nil {
			t.Fatal(err)
		}
	}
	if f := e.Figures().WAL; f.Checkpoints == 0 || f.Blocked > 0 {
		t.Errorf("got %+v", f)
	}
}
