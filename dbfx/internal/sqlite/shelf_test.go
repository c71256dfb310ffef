package sqlite

import (
	"context"
	"database/sql"
	"testing"
	"time"
)

func TestRenew_ReplacesTheRealConnections(t *testing.T) {
	t.Parallel()
	db, e := open(t, 8)
	mustExec(t, db, "create table t (a integer); insert into t values (1)")
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	mustExec(t, tx, "insert into t values (2)")
	e.Renew()
	f := e.Figures()
	if f.Handles[0].Open != 1 || f.Handles[1].Open != 0 {
		t.Errorf("a free connection is left, or one in use was cut: %+v", f.Handles)
	}
	mustExec(t, tx, "insert into t values (3)")
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if f := e.Figures(); f.Handles[0].Open != 0 {
		t.Errorf("one that is older than the renewal came back: %+v", f.Handles)
	}
	if got := text(t, db, "select count(*) from t"); got != "3" {
		t.Errorf("got %s rows", got)
	}
}

// TestShelf_OpensMoreWhereReadsNest: forty results that are all open need forty
// connections, and they go away when nobody uses them.
func TestShelf_OpensMoreWhereReadsNest(t *testing.T) {
	t.Parallel()
	db, e := open(t, 8)
	mustExec(t, db, "create table t (a integer); insert into t values (1), (2)")
	const depth = 40
	var open []*sql.Rows
	for range depth {
		rows, err := db.QueryContext(t.Context(), "select a from t")
		if err != nil {
			t.Fatal(err)
		}
		rows.Next()
		open = append(open, rows)
	}
	if n := e.Figures().Handles[1].Open; n != depth {
		t.Errorf("got %d connections for %d results", n, depth)
	}
	for _, rows := range open {
		_ = rows.Close()
	}
	e.readers.tidy() // sees which were used since the last time
	e.readers.tidy()
	if n := e.Figures().Handles[1].Open; n != e.readers.keep {
		t.Errorf("%d connections stay, want %d", n, e.readers.keep)
	}
	if got := text(t, db, "select count(*) from t"); got != "2" {
		t.Errorf("got %s rows", got)
	}
}

func TestShelf_AWaitEndsWithItsContext(t *testing.T) {
	t.Parallel()
	_, e := open(t, 8)
	s := e.newShelf(pragmas, 1, time.Hour, 1)
	first, err := s.take(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	waited := make(chan error)
	go func() { _, err := s.take(ctx); waited <- err }()
	for s.figures("").Waiting == 0 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-waited; err == nil {
		t.Error("it got a connection")
	}
	go func() { r, err := s.take(t.Context()); s.put(r); waited <- err }()
	for s.figures("").Waiting == 0 {
		time.Sleep(time.Millisecond)
	}
	s.put(first)
	if err := <-waited; err != nil {
		t.Error(err)
	}
	if err := s.close(); err != nil {
		t.Error(err)
	}
	if n := s.figures(""); n.Open != 0 || n.Waiting != 0 {
		t.Errorf("got %+v", n)
	}
}

// TestEngine_RenewReplacesWhatWasOpenedBefore whatever the clock says.
func TestEngine_RenewReplacesWhatWasOpenedBefore(t *testing.T) {
	t.Parallel()
	db, e := open(t, 8)
	mustExec(t, db, "create table t (a)")
	for range 3 {
		c := pin(t, db)
		mustExec(t, c, "select 1 from t")
		var old *realConn
		raw(t, c, func(c *conn) { old = c.real })
		e.Renew()
		e.readers.mu.Lock()
		_, known := e.readers.open[old]
		e.readers.mu.Unlock()
		if !known || !e.outdated(old) {
			t.Fatal("the connection in use is gone, or stays")
		}
		_ = c.Close()
		c = pin(t, db)
		mustExec(t, c, "select 1 from t")
		raw(t, c, func(c *conn) {
			if c.real == old || e.outdated(c.real) {
				t.Error("the next user has it, or another old one")
			}
		})
		_ = c.Close()
	}
}
