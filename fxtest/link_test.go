package fxtest_test

import (
	"context"
	"errors"
	"net"
	"net/url"
	"testing"
	"time"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

// throughLink starts an application whose PostgreSQL is behind a line, and
// returns a way to see the truth past it.
func throughLink(t *testing.T) (*fxtest.App, *fxtest.Link, func() (rows int)) {
	direct := fxtest.Postgres(t)
	truth := fxtest.New(t, fxtest.Use(direct))
	if _, err := truth.DB.ExecContext(t.Context(), "create table orders (id integer)"); err != nil {
		t.Fatal(err)
	}
	cfg, link := fxtest.Proxy(t, direct)
	cfg.PoolTimeout, cfg.ConnectTimeout = 5*time.Minute, time.Minute
	return fxtest.New(t, fxtest.Use(cfg)), link, func() (rows int) {
		if err := truth.DB.QueryRowContext(t.Context(), "select count(*) from orders").Scan(&rows); err != nil {
			t.Error(err)
		}
		return rows
	}
}

func order(ctx context.Context, app *fxtest.App) error {
	return app.Sessions.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
		_, err := tx.ExecContext(ctx, "insert into orders values (1)")
		return err
	})
}

func TestLink_CutsAtCommit(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		moment fxtest.Moment
		want   int
	}{
		"before": {fxtest.BeforeCommit, 0},
		"after":  {fxtest.AfterCommit, 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			app, link, rows := throughLink(t)
			for round := range 5 {
				before := rows()
				link.CutAtCommit(tt.moment)
				if err := order(t.Context(), app); !errors.Is(err, dbfx.ErrCommitUnknown) {
					t.Errorf("round %d: got %v, want ErrCommitUnknown", round, err)
				}
				if got := rows() - before; got != tt.want || link.Cuts() != round+1 {
					t.Errorf("round %d: %d rows, %d cuts", round, got, link.Cuts())
				}
				if err := order(t.Context(), app); err != nil {
					t.Errorf("round %d: the trap is spent, but %v", round, err)
				}
			}
		})
	}
}

func TestLink_CutsTheTransactionThatItIsToldTo(t *testing.T) {
	t.Parallel()
	app, link, rows := throughLink(t)
	for round := range 3 { // from the second on the statements are prepared
		link.CutAtCommit(fxtest.AfterCommit, "INSERT into orders")
		err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
			_, err := tx.ExecContext(ctx, "update orders set id = $1 where id = $2", 7, 8)
			return err
		})
		if err != nil || link.Cuts() != round {
			t.Errorf("another transaction: got %v, %d cuts", err, link.Cuts())
		}
		err = app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
			_, err := tx.ExecContext(ctx, "insert into orders values ($1)", 1)
			return err
		})
		if !errors.Is(err, dbfx.ErrCommitUnknown) || link.Cuts() != round+1 || rows() != round+1 {
			t.Errorf("got %v, %d cuts, %d rows", err, link.Cuts(), rows())
		}
	}
}

// TestLink_TellsCommitFromWhatLooksLikeIt has texts with COMMIT or END in them, and
// a savepoint that is rolled back before the COMMIT that is to be cut.
func TestLink_TellsCommitFromWhatLooksLikeIt(t *testing.T) {
	t.Parallel()
	app, link, rows := throughLink(t)
	for round, text := range []string{
		"do $$ begin insert into orders values (1); end $$",
		"insert into orders select 1 where 'x; commit; y' <> ''",
		"insert into orders values (1) -- ; end",
	} {
		link.CutAtCommit(fxtest.AfterCommit, "INTO orders")
		err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
			if _, err := tx.ExecContext(ctx, text); err != nil {
				return err
			}
			_ = app.Sessions.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
				_, err := tx.ExecContext(ctx, "select 1 / 0")
				return err
			})
			if n := link.Cuts(); n != round {
				t.Errorf("%s: %d cuts before COMMIT, want %d", text, n, round)
			}
			return nil
		})
		if !errors.Is(err, dbfx.ErrCommitUnknown) || link.Cuts() != round+1 || rows() != round+1 {
			t.Errorf("%s: got %v, %d cuts, %d rows", text, err, link.Cuts(), rows())
		}
	}
}

// TestLink_StaysDownAfterItsTest heals the line in a cleanup that runs too late.
func TestLink_StaysDownAfterItsTest(t *testing.T) {
	t.Parallel()
	var cfg dbfx.Config
	var link *fxtest.Link
	t.Run("test", func(t *testing.T) {
		t.Cleanup(func() { link.Heal() })
		cfg, link = fxtest.Proxy(t, fxtest.Postgres(t))
	})
	if link == nil {
		t.Skip("no PostgreSQL")
	}
	link.Freeze()
	link.Delay(time.Hour)
	link.CutAtCommit(fxtest.AfterCommit)
	for _, act := range []func(){link.Cut, link.Down, link.Heal} {
		act()
	}
	address, err := url.Parse(cfg.URL())
	if err != nil {
		t.Fatal(err)
	}
	if conn, err := net.Dial("tcp", address.Host); err == nil {
		t.Error("the line is up")
		_ = conn.Close()
	}
}

func TestLink_GoesDownAndHeals(t *testing.T) {
	t.Parallel()
	app, link, rows := throughLink(t)
	link.Down()
	if err := order(t.Context(), app); !dbfx.IsUnavailable(err) {
		t.Errorf("got %v, want what IsUnavailable knows", err)
	}
	link.Heal()
	if err := order(t.Context(), app); err != nil || rows() != 1 {
		t.Errorf("healed: got %v, %d rows", err, rows())
	}
	link.Cut()
	if err := order(t.Context(), app); err != nil || rows() != 2 {
		t.Errorf("cut while idle: got %v, %d rows", err, rows())
	}
}

func TestLink_FreezesAndDelivers(t *testing.T) {
	t.Parallel()
	app, link, rows := throughLink(t)
	if err := order(t.Context(), app); err != nil {
		t.Fatal(err)
	}
	link.Freeze()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := order(ctx, app); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v from a frozen line", err)
	}
	frozen := make(chan error, 1)
	go func() { frozen <- order(context.WithoutCancel(ctx), app) }()
	select {
	case err := <-frozen:
		t.Errorf("a frozen line answered: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	link.Heal()
	if err := <-frozen; err != nil || rows() != 2 {
		t.Errorf("healed: got %v, %d rows", err, rows())
	}
}

func TestLink_DelaysEachRoundTrip(t *testing.T) {
	t.Parallel()
	app, link, _ := throughLink(t)
	if err := app.DB.PingContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	const delay = 80 * time.Millisecond
	link.Delay(delay)
	start := time.Now()
	if err := order(t.Context(), app); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took < 2*delay {
		t.Errorf("a statement and COMMIT took %s, want two delays of %s at least", took, delay)
	}
}

func TestHold_WritersWaitAndReadersDoNot(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		cfg.LockTimeout, cfg.SQLiteBusyTimeout = 100*time.Millisecond, 100*time.Millisecond
		app := fxtest.New(t, fxtest.Use(cfg))
		if _, err := app.DB.ExecContext(t.Context(), "create table orders (id integer)"); err != nil {
			t.Fatal(err)
		}
		release := fxtest.Hold(t, cfg)
		if err := order(t.Context(), app); err == nil {
			t.Error("a write passed the lock")
		}
		var n int
		if err := app.DB.QueryRowContext(t.Context(), "select count(*) from orders").Scan(&n); err != nil {
			t.Error(err)
		}
		release()
		if err := order(t.Context(), app); err != nil {
			t.Error(err)
		}
	})
}

// TestHold_LocksAreFreeWhenReleaseReturns asks for the lock without waiting for it.
func TestHold_LocksAreFreeWhenReleaseReturns(t *testing.T) {
	t.Parallel()
	cfg := fxtest.Postgres(t)
	app := fxtest.New(t, fxtest.Use(cfg))
	if _, err := app.DB.ExecContext(t.Context(), "create table orders (id integer)"); err != nil {
		t.Fatal(err)
	}
	for range 50 {
		fxtest.Hold(t, cfg)()
		err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
			_, err := tx.ExecContext(ctx, "lock table orders in exclusive mode nowait")
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
