package fxtest

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sergas/dbkit/dbfx"
)

// gated is a connector that may have to wait.
type gated struct {
	driver.Connector
	gate chan struct{}
}

func (g gated) Connect(ctx context.Context) (driver.Conn, error) {
	<-g.gate
	return g.Connector.Connect(ctx)
}

func TestHolds_AConnectionThatNobodyWaitsForAnyMoreIsNoLeak(t *testing.T) {
	w := newWatch(t)
	gate := make(chan struct{}, 100)
	for range 10 {
		gate <- struct{}{}
	}
	cfg := dbfx.DefaultConfig()
	cfg.SQLitePath = filepath.Join(t.TempDir(), "app.db")
	d, err := dbfx.Open(t.Context(), cfg, dbfx.WithOpener(func(h dbfx.HandleInfo, c driver.Connector) *sql.DB {
		return w.opener(nil)(h, gated{c, gate})
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close(context.Background()) }()
	db := d.DB()
	db.SetMaxOpenConns(1)
	for len(gate) > 0 {
		<-gate
	}
	held, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	asked := make(chan error)
	go func() {
		_, err := db.Conn(ctx)
		asked <- err
	}()
	wait(t, func(s sql.DBStats) bool { return s.WaitCount == 1 }, db)
	_ = held.Raw(func(any) error { return driver.ErrBadConn }) // database/sql opens another one for who waits
	_ = held.Close()
	wait(t, func(s sql.DBStats) bool { return s.InUse == 1 }, db) // it is being opened
	cancel()
	if err := <-asked; err == nil {
		t.Fatal("it did not wait")
	}
	gate <- struct{}{}
	wait(t, func(s sql.DBStats) bool { return s.Idle == 1 }, db)
	holds := w.holdsOf("")
	if left := holds.bare(); len(left) > 0 {
		t.Errorf("an idle connection is told as a leak:\n%s", strings.Join(left, "\n"))
	}
	held, err = db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if left := holds.bare(); len(left) != 1 {
		t.Errorf("%d leaks, want that of this test", len(left))
	}
	_ = held.Close()
	if left := holds.bare(); len(left) > 0 {
		t.Errorf("it came back, and is told as a leak:\n%s", strings.Join(left, "\n"))
	}
}

func wait(t *testing.T, until func(sql.DBStats) bool, db *sql.DB) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !until(db.Stats()); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%+v", db.Stats())
		}
	}
}
