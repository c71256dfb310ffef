package fxtest_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

// faults are what TestPostgres_Chaos breaks. The line is healed after each.
func (c *chaos) faults() map[string]func(*testing.T, *rand.Rand) {
	faults := map[string]func(*testing.T, *rand.Rand){
		"cut":               func(*testing.T, *rand.Rand) { c.link.Cut() },
		"cut before COMMIT": func(_ *testing.T, r *rand.Rand) { c.atCommit(r, fxtest.BeforeCommit) },
		"cut after COMMIT":  func(_ *testing.T, r *rand.Rand) { c.atCommit(r, fxtest.AfterCommit) },
		"freeze":            func(_ *testing.T, r *rand.Rand) { c.link.Freeze(); linger(r, 400) },
		"freeze and cut":    func(_ *testing.T, r *rand.Rand) { c.link.Freeze(); linger(r, 200); c.link.Cut() },
		"delay": func(_ *testing.T, r *rand.Rand) {
			c.link.Delay(time.Duration(r.IntN(60)) * time.Millisecond)
			linger(r, 200)
		},
		"down":      func(_ *testing.T, r *rand.Rand) { c.link.Down(); linger(r, 300) },
		"renew":     func(*testing.T, *rand.Rand) { c.db.Sessions().Renew() },
		"terminate": func(t *testing.T, r *rand.Rand) { c.terminate(t, 1+r.IntN(3)) },
	}
	if c.server != nil {
		faults["server stops"] = func(t *testing.T, r *rand.Rand) { c.restart(t, r, syscall.SIGINT) }
		faults["server crashes"] = func(t *testing.T, r *rand.Rand) { c.restart(t, r, syscall.SIGQUIT) }
	}
	return faults
}

// linger goes on with a fault for up to so many milliseconds.
func linger(random *rand.Rand, most int) {
	time.Sleep(time.Duration(random.IntN(most)) * time.Millisecond)
}

// atCommit cuts a few connections at COMMIT, one after the other.
func (c *chaos) atCommit(random *rand.Rand, when fxtest.Moment) {
	for range 1 + random.IntN(2) {
		before := c.link.Cuts()
		c.link.CutAtCommit(when)
		for until := time.Now().Add(time.Second); c.link.Cuts() == before && time.Now().Before(until); {
			time.Sleep(time.Millisecond)
		}
	}
}

func (c *chaos) terminate(t *testing.T, n int) {
	c.past(t, fmt.Sprintf(`select pg_terminate_backend(pid) from (select pid from pg_stat_activity
		where datname = current_database() and pid <> pg_backend_pid() order by random() limit %d) as them`, n))
}

func (c *chaos) restart(t *testing.T, random *rand.Rand, signal syscall.Signal) {
	c.server.Stop(t, signal)
	linger(random, 100)
	c.server.Start(t)
}

// reviveThePooler starts it again, as its supervisor would: PgBouncer 1.18 dies ("bad
// client state") of a cancel request whose sender is cut off.
func (c *chaos) reviveThePooler(t *testing.T) {
	if c.pooler == 0 {
		return
	}
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", c.pooler))
	if err == nil {
		_ = conn.Close()
		return
	}
	t.Log("PgBouncer has died:", err)
	bouncerAt(t, c.pooler, c.direct, "pool_mode = transaction")
}

// acts are what the service does. Each notes in its call how many rows it leaves.
func (c *chaos) acts() map[string]func(context.Context, *chaosCall) error {
	s := c.db.Sessions()
	return map[string]func(context.Context, *chaosCall) error{
		"one":     func(ctx context.Context, call *chaosCall) error { return s.Run(ctx, call.inserts(1)) },
		"two":     func(ctx context.Context, call *chaosCall) error { return s.Run(ctx, call.inserts(2)) },
		"durable": func(ctx context.Context, call *chaosCall) error { return s.Run(ctx, call.inserts(3), dbfx.Durable()) },
		"retry": func(ctx context.Context, call *chaosCall) error {
			return s.Run(ctx, call.inserts(2), dbfx.Retry(dbfx.RetryPolicy{}))
		},
		"idempotent": func(ctx context.Context, call *chaosCall) error {
			return s.Run(ctx, call.once(2), dbfx.Retry(dbfx.RetryPolicy{MaxAttempts: 3}), dbfx.Idempotent())
		},
		"serializable": func(ctx context.Context, call *chaosCall) error {
			return s.Run(ctx, call.afterSelect(2), dbfx.Isolation(sql.LevelSerializable), dbfx.Retry(dbfx.RetryPolicy{}))
		},
		"timeout": func(ctx context.Context, call *chaosCall) error {
			return s.Run(ctx, call.inserts(2), dbfx.Timeout(50*time.Millisecond))
		},
		"nested": func(ctx context.Context, call *chaosCall) error { return s.Run(ctx, call.nested(s)) },
		"joined": func(ctx context.Context, call *chaosCall) error {
			call.rows = 3
			return s.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
				if err := call.insert(ctx, tx, 0); err != nil {
					return err
				}
				return s.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
					return errors.Join(call.insert(ctx, tx, 1), call.insert(ctx, tx, 2))
				}, dbfx.Join())
			})
		},
		"view": func(ctx context.Context, call *chaosCall) error { return s.View(ctx, call.reads()) },
		"sql.Tx of a session": func(ctx context.Context, call *chaosCall) error {
			call.rows = 2
			return s.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
				return errors.Join(call.insert(ctx, tx.SQLTx(), 0), call.insert(ctx, tx.SQLTx(), 1))
			})
		},
		"fails":       func(ctx context.Context, call *chaosCall) error { return s.Run(ctx, call.fails(false)) },
		"swallows":    func(ctx context.Context, call *chaosCall) error { return s.Run(ctx, call.fails(true)) },
		"exec":        c.exec,
		"bare sql.Tx": c.tx,
		"prepared":    c.prepared,
	}
}

// insert adds a row of the call, unless it fails.
func (call *chaosCall) insert(ctx context.Context, db dbfx.DBTX, part int) error {
	_, err := db.ExecContext(ctx, "insert into chaos values ($1, $2, false)", call.number, part)
	return err
}

func (call *chaosCall) inserts(n int) func(context.Context, *dbfx.Session) error {
	call.rows = n
	return func(ctx context.Context, tx *dbfx.Session) error {
		for part := range n {
			if err := call.insert(ctx, tx, part); err != nil {
				return err
			}
		}
		tx.AfterCommit(func(context.Context) { call.hooks.Add(1) })
		return nil
	}
}

// once inserts what an attempt before may have inserted.
func (call *chaosCall) once(n int) func(context.Context, *dbfx.Session) error {
	call.rows = n
	return func(ctx context.Context, tx *dbfx.Session) error {
		for part := range n {
			_, err := tx.ExecContext(ctx, "insert into chaos values ($1, $2, true) on conflict do nothing", call.number, part)
			if err != nil {
				return err
			}
		}
		tx.AfterCommit(func(context.Context) { call.hooks.Add(1) })
		return nil
	}
}

// afterSelect looks before it inserts: the look is sent with BEGIN.
func (call *chaosCall) afterSelect(n int) func(context.Context, *dbfx.Session) error {
	insert, read := call.inserts(n), call.reads()
	return func(ctx context.Context, tx *dbfx.Session) error {
		if err := read(ctx, tx); err != nil {
			return err
		}
		return insert(ctx, tx)
	}
}

// reads finds nothing of a call that has inserted nothing yet.
func (call *chaosCall) reads() func(context.Context, *dbfx.Session) error {
	return func(ctx context.Context, tx *dbfx.Session) error {
		var n int
		err := tx.QueryRowContext(ctx, "select count(*) from chaos where call = $1", call.number).Scan(&n)
		if err == nil && n > 0 {
			err = fmt.Errorf("call %d has %d rows before it has inserted one", call.number, n)
		}
		return err
	}
}

// nested has one scope that succeeds and one that fails and is undone.
func (call *chaosCall) nested(s *dbfx.Sessions) func(context.Context, *dbfx.Session) error {
	call.rows = 3
	return func(ctx context.Context, tx *dbfx.Session) error {
		if err := call.insert(ctx, tx, 0); err != nil {
			return err
		}
		if err := s.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
			tx.AfterCommit(func(context.Context) { call.hooks.Add(1) })
			return call.insert(ctx, tx, 1)
		}); err != nil {
			return err
		}
		if err := s.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
			tx.AfterCommit(func(context.Context) { call.hooks.Add(1) })
			return errors.Join(call.insert(ctx, tx, -1), errBoom)
		}); !errors.Is(err, errBoom) {
			return fmt.Errorf("the failing scope: %w", err)
		}
		return call.insert(ctx, tx, 2)
	}
}

// fails returns an error, or hides that of a statement: neither may be committed.
func (call *chaosCall) fails(hides bool) func(context.Context, *dbfx.Session) error {
	return func(ctx context.Context, tx *dbfx.Session) error {
		err := call.insert(ctx, tx, -1)
		if !hides {
			return errors.Join(err, errBoom)
		}
		_, _ = tx.ExecContext(ctx, "insert into nothing values (1)")
		return nil
	}
}

func (c *chaos) exec(ctx context.Context, call *chaosCall) error {
	call.rows, call.vague = 1, true
	return call.insert(ctx, c.db.DB(), 0)
}

func (c *chaos) tx(ctx context.Context, call *chaosCall) error {
	call.rows, call.vague = 2, true
	tx, err := c.db.DB().BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	for part := range 2 {
		if err := call.insert(ctx, tx, part); err != nil {
			return err
		}
	}
	return tx.Commit()
}

func (c *chaos) prepared(ctx context.Context, call *chaosCall) error {
	call.rows, call.vague = 1, true
	stmt, err := c.db.DB().PrepareContext(ctx, "insert into chaos values ($1, 0, false)")
	if err != nil {
		return err
	}
	defer func() { _ = stmt.Close() }()
	_, err = stmt.ExecContext(ctx, call.number)
	return err
}
