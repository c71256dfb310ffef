package sqlite

import (
	"context"
	"database/sql"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"
)

// keep reads until the keeper holds.
func keep(t *testing.T, db *sql.DB, e *Engine) {
	t.Helper()
	for !e.keeper.holds.Load() {
		_ = text(t, db, "select count(*) from t")
	}
}

func TestKeeper_HoldsWhileThereAreReadsAndNoWrites(t *testing.T) {
	t.Parallel()
	db, e := open(t, 8)
	mustExec(t, db, "create table t (a integer)")
	for i := range 20 {
		keep(t, db, e)
		mustExec(t, db, "insert into t values (1)")
		if e.keeper.writers.Load() != 0 {
			t.Fatal("a writer has not resumed it")
		}
		if got := text(t, db, "select count(*) from t"); got != strconv.Itoa(i+1) {
			t.Fatalf("after %d commits a read saw %s rows", i+1, got)
		}
	}
	keep(t, db, e)
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if _ = text(t, db, "select count(*) from t"); e.keeper.holds.Load() {
			t.Fatal("it holds beside a writer")
		}
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	keep(t, db, e)
	for e.keeper.holds.Load() { // nobody reads any more: it ends by itself
		time.Sleep(time.Millisecond)
	}
}

func TestKeeper_LetsAnotherProcessWriteAndCheckpoint(t *testing.T) {
	t.Parallel()
	db, e := open(t, 8)
	mustExec(t, db, "create table t (a integer)")
	other, err := sql.Open("sqlite", "file:"+e.path+"?_pragma=busy_timeout(60000)")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			last := -1
			for ctx.Err() == nil {
				n, err := strconv.Atoi(text(t, db, "select count(*) from t"))
				if err != nil || n < last {
					t.Errorf("saw %d rows, then %d, %v", last, n, err)
				}
				last = n
			}
		})
	}
	for i := range 30 {
		for !e.keeper.holds.Load() {
			again(e)
			_ = text(t, db, "select count(*) from t")
		}
		mustExec(t, other, "insert into t values (1)")
		if got := text(t, db, "select count(*) from t"); got != strconv.Itoa(i+1) {
			t.Errorf("after %d commits of another a read saw %s rows", i+1, got)
		}
		var busy, pages, copied int
		if err := other.QueryRowContext(t.Context(), "pragma wal_checkpoint(restart)").Scan(&busy, &pages, &copied); err != nil || busy != 0 {
			t.Errorf("a checkpoint of another: busy %d, %v", busy, err)
		}
	}
	cancel()
	wg.Wait()
}

// again ends the time for which the keeper leaves the file alone.
func again(e *Engine) {
	e.keeper.mu.Lock()
	defer e.keeper.mu.Unlock()
	e.keeper.again = time.Time{}
}

// leaves reports whether the keeper leaves the file alone.
func leaves(e *Engine) bool {
	e.keeper.mu.Lock()
	defer e.keeper.mu.Unlock()
	return !e.keeper.again.IsZero()
}

func TestKeeper_LeavesAloneWhatAnotherProcessWrites(t *testing.T) {
	t.Parallel()
	db, e := open(t, 8)
	mustExec(t, db, "create table t (a integer)")
	other, err := sql.Open("sqlite", e.path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	for i := range 3 {
		keep(t, db, e)
		mustExec(t, other, "insert into t values (1)")
		for e.keeper.holds.Load() { // it ends by itself
			time.Sleep(time.Millisecond)
		}
		for !leaves(e) {
			if got := text(t, db, "select count(*) from t"); got != strconv.Itoa(2*i+1) || e.keeper.holds.Load() {
				t.Fatalf("it holds: %t; saw %s rows, want %d", e.keeper.holds.Load(), got, 2*i+1)
			}
		}
		again(e)
		keep(t, db, e)
		mustExec(t, db, "insert into t values (1)") // what this process writes is no reason
	}
}

func TestKeeper_TheLogIsBegunAnewBesideItAndViews(t *testing.T) {
	t.Parallel()
	db, e := openLog(t, 1<<20, nil)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for ctx.Err() == nil {
				tx, err := db.BeginTx(t.Context(), &sql.TxOptions{ReadOnly: true})
				if err != nil {
					t.Error(err)
					return
				}
				_ = text(t, tx, "select count(*) from t")
				_ = text(t, db, "select count(*) from t")
				_ = tx.Rollback()
			}
		})
	}
	for f := e.Figures().WAL; f.Checkpoints == f.Blocked; f = e.Figures().WAL {
		keep(t, db, e)
		write(t, db)
	}
	cancel()
	wg.Wait()
}

func TestKeeper_CanBeTurnedOffAndGoesWithTheDatabase(t *testing.T) {
	t.Parallel()
	e := New(Options{Path: filepath.Join(t.TempDir(), "a.db"), FileMode: 0o600, BusyTimeout: time.Second, Pragmas: pragmas, ReadPragmas: pragmas})
	db := e.Main().Open(sql.OpenDB)
	mustExec(t, db, "create table t (a integer)")
	for range 20 {
		_ = text(t, db, "select count(*) from t")
	}
	if e.keeper != nil {
		t.Error("it is there although it is turned off")
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	db, e = open(t, 8)
	mustExec(t, db, "create table t (a integer)")
	keep(t, db, e)
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	if e.keeper.real != nil || e.keeper.holds.Load() {
		t.Error("it outlives the database")
	}
	if logs, _ := filepath.Glob(e.path + "-*"); len(logs) != 0 {
		t.Errorf("left: %v", logs)
	}
}
