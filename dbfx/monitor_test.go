package dbfx

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// looked opens a SQLite database whose monitor looks only when the test says so.
func looked(t *testing.T, change ...func(*Config)) (*Database, *monitor) {
	t.Helper()
	cfg := DefaultConfig()
	cfg.SQLitePath = filepath.Join(t.TempDir(), "a.db")
	for _, fn := range change {
		fn(&cfg)
	}
	db, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close(context.Background()) })
	db.monitor.end(t.Context())
	db.monitor = newMonitor(db)
	return db, db.monitor
}

// of are the events of one kind.
func (d *Database) of(kind EventKind) []Event {
	var list []Event
	for _, e := range d.Events() {
		if e.Kind == kind {
			list = append(list, e)
		}
	}
	return list
}

// TestMonitor_LooksAtADatabaseAlone: fx.New(dbfx.Module), or one whose *sql.DB
// alone is used, builds no Sessions.
func TestMonitor_LooksAtADatabaseAlone(t *testing.T) {
	t.Parallel()
	cfg := DefaultConfig()
	cfg.SQLitePath = filepath.Join(t.TempDir(), "a.db")
	db, err := newDatabase("", cfg)
	if err != nil {
		t.Fatal(err)
	}
	db.open()
	if err := db.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close(context.Background()) }()
	newMonitor(db).look(time.Now())
}

func TestMonitor_TellsASessionThatRunsForLongOnce(t *testing.T) {
	t.Parallel()
	db, m := looked(t)
	err := db.Sessions().View(t.Context(), func(ctx context.Context, tx *Session) error {
		rows, err := tx.QueryContext(ctx, "select 'hunter2' union select 'x'")
		if err != nil {
			return err
		}
		defer func() { _ = rows.Close() }()
		m.look(time.Now())
		if got := db.of(EventLongSession); len(got) != 0 {
			t.Errorf("at its start: got %+v", got)
		}
		tx.root.live.holds.Add(-int64(longRun + time.Second))
		m.look(time.Now())
		m.look(time.Now())
		return rows.Err()
	}, Name("report"))
	if err != nil {
		t.Fatal(err)
	}
	got := db.of(EventLongSession)
	if len(got) != 1 || got[0].Session != "report" || got[0].Duration < longRun || got[0].Statement != "select ? union select ?" ||
		!strings.HasPrefix(got[0].Caller, "monitor_test.go:") {
		t.Errorf("got %+v", got)
	}
}

func TestMonitor_TellsALogThatAReadKeepsLarge(t *testing.T) {
	t.Parallel()
	db, m := looked(t, func(c *Config) { c.SQLiteWALMB = 1 })
	write := func(bytes int) {
		t.Helper()
		if _, err := db.DB().ExecContext(t.Context(), "insert into blobs values (zeroblob($1))", bytes); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := db.DB().ExecContext(t.Context(), "create table blobs (b blob)"); err != nil {
		t.Fatal(err)
	}
	m.look(time.Now())
	err := db.Sessions().View(t.Context(), func(ctx context.Context, tx *Session) error {
		var n int
		if err := tx.QueryRowContext(ctx, "select count(*) from blobs").Scan(&n); err != nil {
			return err
		}
		for range 4 {
			write(1 << 20)
		}
		m.look(time.Now())
		m.look(time.Now())
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := db.of(EventWALLarge); len(got) != 1 || got[0].Bytes <= 2<<20 {
		t.Errorf("got %+v", got)
	}
	for len(db.of(EventWALSmall)) == 0 && t.Context().Err() == nil { // a checkpoint that failed is not tried again at once
		write(1)
		m.look(time.Now())
		time.Sleep(walLookPause)
	}
	if got := db.of(EventWALSmall); len(got) != 1 {
		t.Errorf("got %+v", got)
	}
}

const walLookPause = 20 * time.Millisecond
