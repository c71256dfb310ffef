package fxtest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

// onceOf reports whether try succeeds once in a few times, for what a machine that
// stands still for a second may spoil.
func onceOf(t *testing.T, times int, try func() error) {
	t.Helper()
	var all []error
	for range times {
		err := try()
		if err == nil {
			return
		}
		all = append(all, err)
	}
	t.Errorf("%d of %d failed: %v", times, times, errors.Join(all...))
}

// stoodStill reports whether a replica that was asked then has used up what it may take
// to begin, or half of a POOL_TIMEOUT of 1.8 seconds: the primary has answered then.
func stoodStill(since time.Time) bool { return time.Since(since) >= 900*time.Millisecond }

// TestReplica_AHungOneLeavesTimeForThePrimary: a View has less time than a replica may
// take to begin, with its own deadline or with POOL_TIMEOUT. All of it would be gone.
func TestReplica_AHungOneLeavesTimeForThePrimary(t *testing.T) {
	t.Parallel()
	const short = 1800 * time.Millisecond
	hangs := map[string]func(t *testing.T, cfg dbfx.Config) (replica int, begin func(db *dbfx.Database) error){
		"at the dial": func(t *testing.T, _ dbfx.Config) (int, func(*dbfx.Database) error) {
			return frozenHost(t).port, func(*dbfx.Database) error { return nil }
		},
		"at BEGIN": func(t *testing.T, cfg dbfx.Config) (int, func(*dbfx.Database) error) {
			p := newProxy(t, cfg)
			p.onEach("begin", 0) // only to see it
			return p.port, func(db *dbfx.Database) error {
				p.heal()
				before := p.acted("begin")
				if err := db.Sessions().View(t.Context(), touch); err != nil || p.acted("begin") == before {
					return fmt.Errorf("the replica was not used, %v", err)
				}
				p.blackhole()
				return nil
			}
		},
	}
	limits := map[string]func(cfg *dbfx.Config) (deadline time.Duration){
		"deadline":     func(cfg *dbfx.Config) time.Duration { cfg.PoolTimeout = 5 * time.Minute; return short },
		"POOL_TIMEOUT": func(cfg *dbfx.Config) time.Duration { cfg.PoolTimeout = short; return 5 * time.Minute },
	}
	for where, hang := range hangs {
		for limit, set := range limits {
			t.Run(where+", "+limit, func(t *testing.T) {
				t.Parallel()
				cfg := fxtest.Postgres(t)
				replica, begin := hang(t, cfg)
				cfg = withReplica(cfg, replica, "sslmode=disable")
				deadline := set(&cfg)
				onceOf(t, 5, func() error {
					db, err := dbfx.Open(t.Context(), cfg)
					if err != nil {
						t.Fatal(err)
					}
					defer func() { _ = db.Close(context.Background()) }()
					if err := begin(db); err != nil {
						return err
					}
					ctx, cancel := context.WithTimeout(t.Context(), deadline)
					defer cancel()
					return db.Sessions().View(ctx, touch)
				})
			})
		}
	}
}

// TestReplica_AHungOneIsLeftLongBeforeTheDeadline: it has a free place, so that it would
// have answered at once.
func TestReplica_AHungOneIsLeftLongBeforeTheDeadline(t *testing.T) {
	t.Parallel()
	cfg := fxtest.Postgres(t)
	p := newProxy(t, cfg)
	cfg = withReplica(cfg, p.port, "sslmode=disable")
	cfg.PoolTimeout = 30 * time.Minute
	db := open(t, cfg)
	if err := db.Sessions().View(t.Context(), touch); err != nil {
		t.Fatal(err)
	}
	p.blackhole()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Minute)
	defer cancel()
	result := make(chan error, 1)
	go func() { result <- db.Sessions().View(ctx, touch) }()
	select {
	case err := <-result:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Error("a View waits for the replica for more than a minute")
		cancel()
		<-result
	}
}

// TestReplica_OneThatFailsIsOutOfUse for a second: of the Views of that time one pays.
func TestReplica_OneThatFailsIsOutOfUse(t *testing.T) {
	t.Parallel()
	core, logs := observer.New(zap.DebugLevel)
	cfg := fxtest.Postgres(t)
	db := open(t, withReplica(cfg, closedPort(t), "sslmode=disable"), dbfx.WithLogger(zap.New(core)))
	start := time.Now()
	for range 100 {
		if err := db.Sessions().View(t.Context(), touch); err != nil {
			t.Fatal(err)
		}
	}
	most := 1 + int(time.Since(start)/time.Second)
	if n := logs.FilterMessage("the replicas are out of use for a moment").Len(); n == 0 || n > most {
		t.Errorf("100 Views tried the replica %d times, want at most %d", n, most)
	}
}

// TestReplica_ALagQueryEndsWithWhatBoundsTheBegin: the replica freezes when it is asked.
func TestReplica_ALagQueryEndsWithWhatBoundsTheBegin(t *testing.T) {
	t.Parallel()
	_, standby, cfg := pair(t)
	at := cfg
	at.Port = standby.Port()
	const question = "pg_last_wal_replay_lsn"
	// asked opens a database whose View waits for the answer to the lag query, and
	// returns since when, and where its error comes.
	var asked func(ctx context.Context, t *testing.T, poolTimeout time.Duration) (*dbfx.Database, time.Time, <-chan error)
	asked = func(ctx context.Context, t *testing.T, poolTimeout time.Duration) (*dbfx.Database, time.Time, <-chan error) {
		t.Helper()
		p := newProxy(t, at)
		cfg := withReplica(cfg, p.port, "sslmode=disable")
		cfg.DatabaseReplicaMaxLag, cfg.PoolTimeout = time.Hour, poolTimeout
		db, err := dbfx.Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { p.cut(); _ = db.Close(context.Background()) }) // also where the query would go on for ever
		p.on(question, stallReply)
		result, since := make(chan error, 1), time.Now()
		go func() { result <- db.Sessions().View(ctx, touch) }()
		for p.acted(question) == 0 {
			select {
			case err := <-result:
				if err != nil || !stoodStill(since) {
					t.Fatal("the replica was not asked:", err)
				}
				return asked(ctx, t, poolTimeout)
			case <-time.After(time.Millisecond):
			}
		}
		return db, since, result
	}
	ended := func(t *testing.T, what string, result <-chan error) error {
		t.Helper()
		select {
		case err := <-result:
			return err
		case <-time.After(time.Minute):
			t.Fatal(what, "goes on")
		}
		return nil
	}
	t.Run("context", func(t *testing.T) {
		t.Parallel()
		for again := true; again; {
			ctx, cancel := context.WithCancel(t.Context())
			_, since, result := asked(ctx, t, 5*time.Minute)
			cancel()
			if err := ended(t, "View", result); err != nil || !stoodStill(since) {
				wantIs(t, err, context.Canceled)
				again = false
			}
		}
	})
	t.Run("POOL_TIMEOUT", func(t *testing.T) {
		t.Parallel()
		onceOf(t, 5, func() error {
			_, _, result := asked(t.Context(), t, 1800*time.Millisecond)
			return ended(t, "View", result)
		})
	})
	t.Run("Close", func(t *testing.T) {
		t.Parallel()
		for again := true; again; {
			db, since, result := asked(t.Context(), t, 5*time.Minute)
			closed := make(chan error, 1)
			go func() { closed <- db.Close(context.Background()) }()
			if err := ended(t, "View", result); err != nil || !stoodStill(since) {
				wantIs(t, err, dbfx.ErrClosed)
				again = false
			}
			if err := ended(t, "Close", closed); err != nil {
				t.Error(err)
			}
		}
	})
}
