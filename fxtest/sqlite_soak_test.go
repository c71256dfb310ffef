package fxtest_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

// soakTime is how long TestSQLite_Soak goes on: DBFX_SOAK, or two seconds.
func soakTime(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("DBFX_SOAK")
	if text == "" {
		return 2 * time.Second
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal("DBFX_SOAK:", err)
	}
	return d
}

// soak is everything at once on one file: each act says whether it added its rows.
type soak struct {
	app   *fxtest.App
	added atomic.Int64 // rows that were acknowledged
	acts  atomic.Int64
	cut   atomic.Int64 // acts that their context ended
}

// TestSQLite_Soak runs every kind of user beside each other, some cut off at any
// moment. Nobody may meet an error but the end of his own context; every row that
// was acknowledged is there; and what they used does not grow.
func TestSQLite_Soak(t *testing.T) {
	t.Parallel()
	s := &soak{app: sqliteApp(t, func(c *dbfx.Config) { c.SQLiteWALMB, c.SQLiteBusyTimeout = 4, time.Minute })}
	if _, err := s.app.DB.ExecContext(t.Context(), "create table big (id integer primary key, b blob)"); err != nil {
		t.Fatal(err)
	}
	acts := []func(context.Context, *rand.Rand) error{
		s.run, s.run, s.view, s.view, s.bareRead, s.bareWrite, s.returning, s.tx, s.handTyped, s.script, s.failingDump,
		s.pragma, s.prepared, s.rowsInRows, s.temporary, s.big,
	}
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for worker := range 2 * len(acts) {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(worker), 1))
			for ctx.Err() == nil {
				act := acts[(worker+random.IntN(2)*random.IntN(len(acts)))%len(acts)]
				s.once(t, act, random)
			}
		})
	}
	watchSoak(t, s, soakTime(t))
	stop()
	wg.Wait()
	var n int64
	if err := s.app.DB.QueryRowContext(t.Context(), "select count(*) from kv").Scan(&n); err != nil || n < s.added.Load() || n > s.added.Load()+s.cut.Load() {
		t.Errorf("%d rows are there, %v; %d were acknowledged, and %d acts were cut", n, err, s.added.Load(), s.cut.Load())
	}
	var check string
	if err := s.app.DB.QueryRowContext(t.Context(), "pragma integrity_check").Scan(&check); err != nil || check != "ok" {
		t.Errorf("integrity_check: %s, %v", check, err)
	}
	t.Logf("%d acts, %d of them cut, %d rows", s.acts.Load(), s.cut.Load(), n)
}

// once does an act, now and then with a context that ends at any moment.
func (s *soak) once(t *testing.T, act func(context.Context, *rand.Rand) error, random *rand.Rand) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if random.IntN(8) == 0 {
		stop := time.AfterFunc(time.Duration(random.IntN(3000))*time.Microsecond, cancel)
		defer stop.Stop()
	}
	err := act(ctx, random)
	s.acts.Add(1)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		s.cut.Add(1)
	case errors.Is(err, errBoom):
	default:
		t.Errorf("%v", err)
	}
}

// figures are what must not grow.
type soakFigures struct {
	goroutines, files int
	memory, log       int64
}

func (s *soak) figures() soakFigures {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	f := soakFigures{goroutines: runtime.NumGoroutine(), memory: int64(m.HeapAlloc)}
	if list, err := os.ReadDir("/proc/self/fd"); err == nil {
		f.files = len(list)
	}
	if info, err := os.Stat(s.app.Config.SQLitePath + "-wal"); err == nil {
		f.log = info.Size()
	}
	return f
}

// watchSoak looks ten times, and compares the last looks with the first. Other
// tests run beside a short one, so then the log alone is held to its bound.
func watchSoak(t *testing.T, s *soak, length time.Duration) {
	var looks []soakFigures
	for range 10 {
		time.Sleep(length / 10)
		f := s.figures()
		looks = append(looks, f)
		if length > time.Minute {
			t.Logf("%d acts, %+v", s.acts.Load(), f)
		}
		if f.log > 48<<20 {
			t.Errorf("the log has %d bytes, its bound is 4 MiB", f.log)
		}
	}
	if length < time.Minute {
		return
	}
	first, last := looks[1], looks[9]
	if last.goroutines > first.goroutines+20 || last.files > first.files+20 || last.memory > 2*first.memory+10<<20 {
		t.Errorf("it grows: %+v, then %+v", first, last)
	}
}

const soakInsert = "insert into kv values ('soak', 1)"

func (s *soak) add(n int64, err error) error {
	if err == nil {
		s.added.Add(n)
	}
	return err
}

func (s *soak) run(ctx context.Context, random *rand.Rand) error {
	fails := random.IntN(4) == 0
	return s.add(1, s.app.Sessions.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
		if err := put(ctx, tx, "soak", 1); err != nil {
			return err
		}
		if err := s.app.DB.QueryRowContext(ctx, "select count(*) from kv where v = 2").Scan(new(int)); err != nil { // not the session's
			return err
		}
		if fails {
			return errBoom
		}
		return nil
	}))
}

func (s *soak) view(ctx context.Context, _ *rand.Rand) error {
	return s.app.Sessions.View(ctx, func(ctx context.Context, tx *dbfx.Session) error {
		var a, b int
		if err := tx.QueryRowContext(ctx, "select count(*) from kv").Scan(&a); err != nil {
			return err
		}
		if err := tx.QueryRowContext(ctx, "select count(*) from kv").Scan(&b); err != nil || a == b {
			return err
		}
		return fmt.Errorf("a View saw %d rows, then %d", a, b)
	})
}

func (s *soak) bareRead(ctx context.Context, random *rand.Rand) error {
	return s.app.DB.QueryRowContext(ctx, fmt.Sprintf("with x as (select %d as updated_at) select updated_at from x", random.IntN(100))).Scan(new(int))
}

func (s *soak) bareWrite(ctx context.Context, _ *rand.Rand) error {
	_, err := s.app.DB.ExecContext(ctx, soakInsert)
	return s.add(1, err)
}

func (s *soak) returning(ctx context.Context, _ *rand.Rand) error {
	return s.add(1, s.app.DB.QueryRowContext(ctx, soakInsert+" returning v").Scan(new(int)))
}

func (s *soak) tx(ctx context.Context, random *rand.Rand) error {
	tx, err := s.app.DB.BeginTx(ctx, &sql.TxOptions{ReadOnly: random.IntN(2) == 0})
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if err := tx.QueryRowContext(ctx, "select 1").Scan(new(int)); err != nil {
		return err
	}
	return tx.Commit()
}

func (s *soak) handTyped(ctx context.Context, random *rand.Rand) error {
	conn, err := s.app.DB.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	for _, query := range []string{"begin immediate", soakInsert, "commit"} {
		if query == "commit" && random.IntN(3) == 0 {
			return nil // left open: it goes when the connection goes back
		}
		if _, err := conn.ExecContext(ctx, query); err != nil {
			return err
		}
	}
	return s.add(1, nil)
}

func (s *soak) script(ctx context.Context, _ *rand.Rand) error {
	_, err := s.app.DB.ExecContext(ctx, "begin; "+soakInsert+"; select 1; "+soakInsert+"; commit; -- done")
	if err != nil && ctx.Err() != nil {
		s.cut.Add(1) // two rows may be there
	}
	return s.add(2, err)
}

func (s *soak) failingDump(ctx context.Context, _ *rand.Rand) error {
	_, err := s.app.DB.ExecContext(ctx, "pragma foreign_keys = off; begin; "+soakInsert+"; insert into nothing values (1); commit")
	if err == nil {
		return errors.New("the dump did not fail")
	}
	return errBoom
}

func (s *soak) pragma(ctx context.Context, _ *rand.Rand) error {
	var on string
	if err := s.app.DB.QueryRowContext(ctx, "pragma foreign_keys").Scan(&on); err != nil || on == "1" {
		return err
	}
	return errors.New("foreign_keys is off: a dump has left it so")
}

func (s *soak) prepared(ctx context.Context, _ *rand.Rand) error {
	stmt, err := s.app.DB.PrepareContext(ctx, "insert into kv values (?, ?)")
	if err != nil {
		return err
	}
	defer func() { _ = stmt.Close() }()
	_, err = stmt.ExecContext(ctx, "soak", 1)
	return s.add(1, err)
}

func (s *soak) rowsInRows(ctx context.Context, _ *rand.Rand) error {
	rows, err := s.app.DB.QueryContext(ctx, "select v from kv limit 3")
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := s.bareWrite(ctx, nil); err != nil {
			return err
		}
		if err := s.bareRead(ctx, rand.New(rand.NewPCG(1, 1))); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (s *soak) temporary(ctx context.Context, _ *rand.Rand) error {
	conn, err := s.app.DB.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.ExecContext(ctx, "create temp table mine (a); insert into mine values (1), (2)"); err != nil {
		return err
	}
	return conn.QueryRowContext(ctx, "select count(*) from mine").Scan(new(int))
}

func (s *soak) big(ctx context.Context, _ *rand.Rand) error {
	_, err := s.app.DB.ExecContext(ctx, "insert into big values (1, randomblob(200000)) on conflict do update set b = excluded.b")
	return err
}
