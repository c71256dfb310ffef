package sqlite

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/sergas/dbkit/dbfx/internal/engine"
)

// A session's rows are under a Call, so that database/sql does not close them when
// their context ends.
func TestRows_LeftOpenByAContextThatEndedDoNotEndTheStatementsBeside(t *testing.T) {
	t.Parallel()
	db, _ := open(t, 8)
	mustExec(t, db, "create table t (a); insert into t values (1), (2)")
	c := pin(t, db)
	mustExec(t, c, "begin immediate")
	ctx, cancel := context.WithCancel(t.Context())
	rows, err := c.QueryContext(engine.NewCall(ctx, nil), "select a from t")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	if !rows.Next() {
		t.Fatal(rows.Err())
	}
	cancel()
	for range 20 { // each long enough to be met by an interrupt, which came every millisecond
		mustExec(t, c, "insert into t with recursive n(i) as (select 1 union all select i + 1 from n where i < 5000) select i from n")
	}
	if rows.Next() || !errors.Is(rows.Err(), context.Canceled) {
		t.Errorf("got %v", rows.Err())
	}
	mustExec(t, c, "commit")
	if got := text(t, c, "select count(*) from t"); got != "100002" {
		t.Errorf("got %s rows", got)
	}
}

// watched is a context that ends as soon as a statement that was let in watches it.
type watched struct {
	context.Context
	end context.CancelFunc
}

func endsWhenWatched(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	return watched{ctx, cancel}
}

// Value hides the context inside, which context.AfterFunc would ask itself.
func (watched) Value(any) any { return nil }

// AfterFunc is what context.AfterFunc calls.
func (w watched) AfterFunc(fn func()) (stop func() bool) {
	defer w.end()
	return context.AfterFunc(w.Context, fn)
}

// TestRows_SayThatAStatementBesideThemWasCancelled and do not look complete: SQLite
// interrupts a connection, and no single statement.
func TestRows_SayThatAStatementBesideThemWasCancelled(t *testing.T) {
	t.Parallel()
	db, _ := open(t, 8)
	c := pin(t, db)
	rows, err := c.QueryContext(t.Context(), "with recursive n(i) as (select 1 union all select i + 1 from n where i < 1000) select i from n")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	rows.Next()
	if _, err := c.ExecContext(endsWhenWatched(t), "select count(*) from (with recursive n(i) as (select 1 union all select i + 1 from n) select i from n)"); !errors.Is(err, context.Canceled) {
		t.Errorf("the statement: got %v", err)
	}
	for rows.Next() {
		continue
	}
	if err := rows.Err(); err == nil || !strings.Contains(err.Error(), "beside this one") {
		t.Errorf("the rows: got %v", err)
	}
	_ = rows.Close()
	mustExec(t, c, "select 1")
}
