package interop

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"go.uber.org/fx"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

func TestCopyPeople_CommitsWithTheSession(t *testing.T) {
	t.Parallel()
	app := fxtest.New(t, fxtest.Use(fxtest.Postgres(t)))
	if _, err := app.DB.ExecContext(t.Context(), ddl); err != nil {
		t.Fatal(err)
	}
	undo := errors.New("undo")
	for want, end := range map[int]error{0: undo, 1000: nil} {
		people := make([]Person, 1000)
		for i := range people {
			people[i] = Person{int64(i), "x"}
		}
		err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
			if err := CopyPeople(ctx, tx, people); err != nil {
				return err
			}
			return end
		})
		var n int
		if scanErr := app.DB.QueryRowContext(t.Context(), "select count(*) from people").Scan(&n); scanErr != nil || err != end || n != want {
			t.Errorf("got %v, %d rows, %v; want %v and %d", err, n, scanErr, end, want)
		}
		if _, err := app.DB.ExecContext(t.Context(), "delete from people"); err != nil {
			t.Fatal(err)
		}
	}
}

func TestListen_HearsAgainAfterTheLineWasCut(t *testing.T) {
	t.Parallel()
	direct := fxtest.Postgres(t)
	app := fxtest.New(t, fxtest.Use(direct))
	cfg, link := fxtest.Proxy(t, direct)
	ctx, cancel := context.WithCancel(t.Context())
	heard := make(chan string, 100)
	var listening sync.WaitGroup
	listening.Go(func() { Listen(ctx, cfg, "Orders", func(payload string) { heard <- payload }) })
	defer func() { cancel(); listening.Wait() }()
	next := func() string {
		select {
		case payload := <-heard:
			return payload
		case <-time.After(time.Minute):
			return "nothing"
		}
	}
	for round := range 3 {
		if got := next(); got != "" {
			t.Fatalf("round %d: got %q after the connect", round, got)
		}
		want := fmt.Sprint("order ", round)
		if _, err := app.DB.ExecContext(t.Context(), "select pg_notify('Orders', $1)", want); err != nil {
			t.Fatal(err)
		}
		if got := next(); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
		link.Cut()
	}
}

func TestLedger_HasTwoDatabases(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		var ledger *Ledger
		fxtest.Start(t, LedgerModule, fxtest.Use(cfg), fxtest.UseNamed("reports", fxtest.SQLite(t)), fx.Populate(&ledger))
		create := func(s *dbfx.Sessions, table string) error {
			return s.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
				_, err := tx.ExecContext(ctx, "create table "+table+" (id integer)")
				return err
			})
		}
		for _, s := range []*dbfx.Sessions{ledger.main, ledger.reports} { // the second would meet the first's table
			if err := create(s, "entries"); err != nil {
				t.Error(err)
			}
		}
	})
}
