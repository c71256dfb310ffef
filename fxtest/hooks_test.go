package fxtest_test

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/fx"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

func TestClose_DoesNotCountASessionThatHasCommittedAsCut(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *dbfx.Database, cfg dbfx.Config) {
		entered, leave := make(chan struct{}), make(chan struct{})
		running := make(chan error, 1)
		go func() {
			running <- db.Sessions().Run(context.Background(), func(ctx context.Context, tx *dbfx.Session) error {
				tx.AfterCommit(func(ctx context.Context) {
					close(entered)
					<-leave
					if ctx.Err() != nil {
						t.Error("the hook's context has ended:", context.Cause(ctx))
					}
				})
				return put(ctx, tx, "a", 1)
			})
		}()
		<-entered
		ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		defer cancel()
		if err := db.Close(ctx); err != nil {
			t.Errorf("got %v, want nil: nothing was taken from the session", err)
		}
		close(leave)
		if err := <-running; err != nil {
			t.Error("the session:", err)
		}
		if n := rowsAfterwards(t, cfg); n != 1 {
			t.Errorf("got %d rows, want 1", n)
		}
	})
}

func TestAfterCommit_PanicKeepsTheCommitAndTheOtherHooks(t *testing.T) {
	eachApp(t, func(t *testing.T, app *fxtest.App) {
		var ran []string
		got := func() (p any) {
			defer func() { p = recover() }()
			_ = app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
				tx.AfterCommit(func(context.Context) { ran = append(ran, "first") })
				tx.AfterCommit(func(context.Context) { panic("hook") })
				tx.AfterCommit(func(context.Context) { ran = append(ran, "last") })
				return put(ctx, tx, "a", 1)
			})
			return nil
		}()
		if got != "hook" || fmt.Sprint(ran) != "[first last]" {
			t.Errorf("got panic %v and %v", got, ran)
		}
		wantCount(t, app, "a", 1)
		wantIdle(t, app)
	})
}

// panicking is an observer with a fault.
type panicking struct{}

func (panicking) ObserveStatement(context.Context, dbfx.StatementEvent) { panic("statement") }
func (panicking) ObserveSession(context.Context, dbfx.SessionEvent)     { panic("session") }

func TestObserver_PanicEndsAndHoldsNothing(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		cfg.PoolSize, cfg.MaxOverflow, cfg.PoolTimeout = 1, 0, 10*time.Second
		core, logs := observer.New(zap.ErrorLevel)
		app := fxtest.New(t, fxtest.Use(cfg), fx.Replace(zap.New(core)),
			fx.Provide(fx.Annotate(func() dbfx.Observer { return panicking{} }, fx.ResultTags(`group:"dbfx.observers"`))))
		if _, err := app.DB.ExecContext(t.Context(), "create table kv (k text primary key, v integer)"); err != nil {
			t.Fatal(err)
		}
		for i := range 5 {
			if err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
				return put(ctx, tx, fmt.Sprint(i), i)
			}); err != nil {
				t.Fatal(err)
			}
		}
		wantCount(t, app, "%", 5)
		wantIdle(t, app)
		if logs.FilterMessage("an observer panicked").Len() == 0 {
			t.Error("the panic was not logged")
		}
	})
}

func TestPasswordSource_PanicIsAnError(t *testing.T) {
	t.Parallel()
	cfg := fxtest.Postgres(t)
	cfg.StartTimeout = 2 * time.Second
	db, err := dbfx.Open(t.Context(), cfg, dbfx.WithPasswordSource(func(context.Context) (string, error) { panic("source") }))
	if err == nil {
		_ = db.Close(t.Context())
	}
	if err == nil || !strings.Contains(err.Error(), "it panicked: source") {
		t.Errorf("got %v", err)
	}
}

// TestSession_StatementsUnderAnotherContextLeaveNothing counts memory, and so is
// not parallel.
func TestSession_StatementsUnderAnotherContextLeaveNothing(t *testing.T) {
	app := fxtest.New(t)
	other, cancel := context.WithCancel(context.Background())
	defer cancel()
	err := app.Sessions.View(t.Context(), func(_ context.Context, tx *dbfx.Session) error {
		one := func() error { return tx.QueryRowContext(other, "select 1").Scan(new(int)) }
		if err := one(); err != nil {
			return err
		}
		before := heap()
		for range 20_000 { // each kept 3 KB
			if err := one(); err != nil {
				return err
			}
		}
		if grown := heap() - before; grown > 8<<20 {
			t.Errorf("20,000 statements keep %d bytes", grown)
		}
		rows, err := tx.QueryContext(other, "select 1 union select 2") // open while 20,000 others come and go
		if err != nil {
			return err
		}
		defer func() { _ = rows.Close() }()
		before = heap()
		for range 20_000 {
			if err := one(); err != nil {
				return err
			}
		}
		if grown := heap() - before; grown > 8<<20 {
			t.Errorf("20,000 statements beside an open one keep %d bytes", grown)
		}
		return rows.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestSession_RawIsInsideTheTransaction(t *testing.T) {
	eachApp(t, func(t *testing.T, app *fxtest.App) {
		insert := func(tx *dbfx.Session, k string, v int) error {
			return tx.Raw(func(conn any) error {
				if pg, ok := conn.(interface{ Conn() *pgx.Conn }); ok {
					_, err := pg.Conn().CopyFrom(t.Context(), pgx.Identifier{"kv"}, []string{"k", "v"}, pgx.CopyFromRows([][]any{{k, v}}))
					return err
				}
				_, err := conn.(interface {
					ExecContext(context.Context, string, []driver.NamedValue) (driver.Result, error)
				}).ExecContext(t.Context(), fmt.Sprintf("insert into kv values ('%s', %d)", k, v), nil)
				return err
			})
		}
		err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
			return insert(tx, "kept", 1)
		})
		if err != nil {
			t.Fatal(err)
		}
		err = app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
			return errors.Join(insert(tx, "gone", 1), errBoom)
		})
		wantIs(t, err, errBoom)
		err = app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
			if err := insert(tx, "gone", -1); !dbfx.IsCheckViolation(err) { // and hidden
				t.Errorf("got %v, want a check violation", err)
			}
			return nil
		})
		wantIs(t, err, dbfx.ErrRolledBack)
		func() {
			defer func() {
				if p := recover(); p != "raw" {
					t.Errorf("got panic %v", p)
				}
			}()
			_ = app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
				_ = tx.QueryRowContext(ctx, "select 1") // left open
				return tx.Raw(func(any) error { panic("raw") })
			})
		}()
		wantCount(t, app, "%", 1)
		wantIdle(t, app)
	})
}
