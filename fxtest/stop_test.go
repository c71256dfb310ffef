package fxtest_test

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

// eachDatabase runs fn on both engines with a database that the test closes.
func eachDatabase(t *testing.T, fn func(t *testing.T, db *dbfx.Database, cfg dbfx.Config), change ...func(*dbfx.Config)) {
	t.Helper()
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		for _, f := range change {
			f(&cfg)
		}
		db, err := dbfx.Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.DB().ExecContext(t.Context(), "create table kv (k text primary key, v integer)"); err != nil {
			t.Fatal(err)
		}
		fn(t, db, cfg)
	})
}

// rowsAfterwards opens the database again and counts.
func rowsAfterwards(t *testing.T, cfg dbfx.Config) (n int) {
	t.Helper()
	db, err := dbfx.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.DB().QueryRowContext(t.Context(), "select count(*) from kv").Scan(&n); err != nil {
		t.Error(err)
	}
	if err := db.Close(t.Context()); err != nil {
		t.Error(err)
	}
	return n
}

func TestClose_LetsSessionsFinishAndTakesNoNewOnes(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *dbfx.Database, cfg dbfx.Config) {
		s := db.Sessions()
		entered, leave := make(chan struct{}), make(chan struct{})
		running := make(chan error, 1)
		go func() {
			running <- s.Run(context.Background(), func(ctx context.Context, tx *dbfx.Session) error {
				close(entered)
				<-leave
				if err := put(ctx, tx, "a", 1); err != nil {
					return err
				}
				return s.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error { return put(ctx, tx, "nested", 1) })
			})
		}()
		<-entered
		waiting := make(chan error, 1)
		go func() { waiting <- s.Run(context.Background(), noop) }()
		closed := make(chan error, 1)
		go func() { closed <- db.Close(context.Background()) }()
		wantIs(t, <-waiting, dbfx.ErrClosed) // woken, or refused if it came after the close
		for !errors.Is(s.Run(context.Background(), noop), dbfx.ErrClosed) {
			t.Fatal("a new session was taken")
		}
		if report := db.Health().Check(t.Context()); report.State != dbfx.StateStopping {
			t.Errorf("health: got %+v", report)
		}
		close(leave)
		if err := <-running; err != nil {
			t.Error("the running session:", err)
		}
		if err := <-closed; err != nil {
			t.Error("close:", err)
		}
		if err := db.Close(context.Background()); err != nil {
			t.Error("second close:", err)
		}
		if n := rowsAfterwards(t, cfg); n != 2 {
			t.Errorf("got %d rows, want 2", n)
		}
	}, tight, func(c *dbfx.Config) { c.PoolTimeout = time.Minute })
}

func TestClose_CutsWhatIsLeftAtTheDeadline(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *dbfx.Database, cfg dbfx.Config) {
		entered := make(chan struct{})
		running := make(chan error, 1)
		var cause error
		go func() {
			running <- db.Sessions().Run(context.Background(), func(ctx context.Context, tx *dbfx.Session) error {
				close(entered)
				_, err := tx.ExecContext(ctx, endlessWrite(cfg))
				cause = context.Cause(ctx)
				return err
			})
		}()
		<-entered
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		err := db.Close(ctx)
		if err == nil || !strings.Contains(err.Error(), "1 of 1 sessions") {
			t.Errorf("got %v, want the count", err)
		}
		if err := <-running; err == nil || errors.Is(err, dbfx.ErrCommitUnknown) {
			t.Errorf("the cut session: got %v", err)
		}
		wantIs(t, cause, dbfx.ErrClosed)
		if n := rowsAfterwards(t, cfg); n != 0 {
			t.Errorf("got %d rows, want 0", n)
		}
	})
}

func TestClose_FnThatHeedsNothingCannotCommitAfterwards(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *dbfx.Database, cfg dbfx.Config) {
		entered, leave := make(chan struct{}), make(chan struct{})
		running := make(chan error, 1)
		go func() {
			running <- db.Sessions().Run(context.Background(), func(ctx context.Context, tx *dbfx.Session) error {
				err := put(ctx, tx, "a", 1)
				close(entered)
				<-leave
				return err
			})
		}()
		<-entered
		ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		defer cancel()
		if err := db.Close(ctx); err == nil {
			t.Error("close says nothing of the session")
		}
		close(leave)
		wantIs(t, <-running, dbfx.ErrClosed)
		if n := rowsAfterwards(t, cfg); n != 0 {
			t.Errorf("got %d rows, want 0", n)
		}
	})
}

func TestClose_WaitsForTheUsersOfABareHandle(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *dbfx.Database, _ dbfx.Config) {
		tx, err := db.DB().BeginTx(context.Background(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := put(t.Context(), tx, "a", 1); err != nil {
			t.Fatal(err)
		}
		closed := make(chan error, 1)
		go func() { closed <- db.Close(context.Background()) }()
		for !errors.Is(db.Sessions().Run(context.Background(), noop), dbfx.ErrClosed) {
			time.Sleep(time.Millisecond)
		}
		if err := tx.Commit(); err != nil {
			t.Error(err)
		}
		if err := <-closed; err != nil {
			t.Error(err)
		}
	})
}

func TestClose_SaysWhatIsLeftOutsideOfSessions(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *dbfx.Database, cfg dbfx.Config) {
		conn, err := db.DB().Conn(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		if err := db.Close(ctx); err == nil || !strings.Contains(err.Error(), "1 connections in use") {
			t.Errorf("got %v, want the count", err)
		}
	})
}

func TestClose_InsideASessionDoesNotHang(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *dbfx.Database, cfg dbfx.Config) {
		err := db.Sessions().Run(context.Background(), func(ctx context.Context, tx *dbfx.Session) error {
			ctx, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
			defer cancel()
			if err := db.Close(ctx); err == nil {
				t.Error("close did not tell of the session that it stood in")
			}
			return nil
		})
		wantIs(t, err, dbfx.ErrClosed)
	})
}

func TestClose_IsBoundedWhenTheServerHasVanished(t *testing.T) {
	t.Parallel()
	cfg := fxtest.Postgres(t)
	p := newProxy(t, cfg)
	cfg.Port = p.port
	db, err := dbfx.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	var conns []*sql.Conn
	for range 8 {
		conn, err := db.DB().Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
	}
	for _, conn := range conns {
		_ = conn.Close()
	}
	p.blackhole()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	start := time.Now()
	_ = db.Close(ctx)
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("took %s: each of eight connections waited for its farewell", took)
	}
	p.cut() // ends what is still being closed
}
