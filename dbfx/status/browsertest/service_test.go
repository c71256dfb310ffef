// Package browsertest opens the page of dbfx/status in a real browser. It is a
// module of its own, so that no user of dbfx loads the browser's driver.
package browsertest

import (
	"context"
	"errors"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"go.uber.org/fx"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/dbfx/status"
	"github.com/sergas/dbkit/fxtest"
)

// service is a service under load: orders on PostgreSQL, reports on SQLite.
type service struct {
	url     string
	orders  *dbfx.Sessions
	reports *dbfx.Sessions
	stop    context.CancelFunc
	wg      sync.WaitGroup
}

var errNoStock = errors.New("out of stock")

const schema = `
create table orders (customer text not null, total integer not null);
create table stock (item text primary key, amount integer not null check (amount >= 0));
insert into stock values ('book', 1000000), ('lamp', 1000000);`

// serve starts the service and its page, without load.
func serve(t *testing.T, reports dbfx.Config) *service {
	t.Helper()
	cfg := fxtest.Postgres(t)
	cfg.PoolSize, cfg.MaxOverflow = 6, 2
	cfg.PoolTimeout, cfg.SQLSlowThreshold = 20*time.Second, 400*time.Millisecond
	s := &service{}
	var page *status.Page
	var main, second *dbfx.Schema
	fxtest.New(t, fxtest.Use(cfg), dbfx.Named("reports"), fxtest.UseNamed("reports", reports), status.Module,
		fx.Supply(status.Options{Title: "shop, databases"}), fx.Populate(&page, &s.orders, &main),
		fx.Populate(fx.Annotate(&s.reports, fx.ParamTags(`name:"reports"`)), fx.Annotate(&second, fx.ParamTags(`name:"reports"`))))
	for _, schemas := range []*dbfx.Schema{main, second} {
		if err := schemas.Init(t.Context(), fstest.MapFS{"1.sql": {Data: []byte(schema)}}); err != nil {
			t.Fatal(err)
		}
	}
	server := httptest.NewServer(page)
	t.Cleanup(func() {
		page.Close()
		server.Close()
	})
	s.url = server.URL + "/"
	return s
}

// load keeps both databases busy until the test ends.
func (s *service) load(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	s.stop = cancel
	t.Cleanup(func() {
		cancel()
		s.wg.Wait()
	})
	for i := range 6 {
		s.loop(ctx, func() error { return s.placeOrder(ctx, i) })
	}
	for range 3 {
		s.loop(ctx, func() error { return s.listOrders(ctx) })
	}
	s.loop(ctx, func() error { return s.refuse(ctx) })
	for range 2 {
		s.loop(ctx, func() error { return s.writeReport(ctx) })
	}
	s.loop(ctx, func() error { return s.readReport(ctx) })
}

func (s *service) loop(ctx context.Context, work func() error) {
	s.wg.Go(func() {
		for ctx.Err() == nil {
			_ = work() // some are meant to fail
			pause(ctx, 15*time.Millisecond)
		}
	})
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func (s *service) placeOrder(ctx context.Context, customer int) error {
	return s.orders.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
		if _, err := tx.ExecContext(ctx, "-- name: InsertOrder :exec\ninsert into orders (customer, total) values ($1, $2)",
			[]string{"ada", "grace", "edsger"}[customer%3], 12); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "update stock set amount = amount - $1 where item = $2", 1, "book")
		return err
	}, dbfx.Name("place order"), dbfx.Retry(dbfx.RetryPolicy{}))
}

func (s *service) listOrders(ctx context.Context) error {
	return s.orders.View(ctx, func(ctx context.Context, tx *dbfx.Session) error {
		var n, total int
		return tx.QueryRowContext(ctx, "select count(*), coalesce(sum(total), 0) from orders where customer = $1", "ada").Scan(&n, &total)
	}, dbfx.Name("list orders"))
}

func (s *service) refuse(ctx context.Context) error {
	return s.orders.Run(ctx, func(context.Context, *dbfx.Session) error { return errNoStock }, dbfx.Name("reserve stock"))
}

func (s *service) writeReport(ctx context.Context) error {
	return s.reports.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
		_, err := tx.ExecContext(ctx, "insert into orders (customer, total) values ($1, $2)", "ada", 1)
		return err
	}, dbfx.Name("append report"))
}

func (s *service) readReport(ctx context.Context) error {
	return s.reports.View(ctx, func(ctx context.Context, tx *dbfx.Session) error {
		var n int
		return tx.QueryRowContext(ctx, "select count(*) from orders where total > $1", 0).Scan(&n)
	}, dbfx.Name("read report"))
}

// past makes a minute and a half that a chart and a log can tell of: load, a pool that is full,
// and load again.
func (s *service) past(t *testing.T) {
	t.Helper()
	time.Sleep(30 * time.Second)
	release := s.hold(t, 9)
	time.Sleep(6 * time.Second)
	release()
	time.Sleep(50 * time.Second)
}

// hold locks a row of stock until release, with waiters behind it: what a person
// opens the page for.
func (s *service) hold(t *testing.T, waiters int) (release func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	locked, end := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = s.orders.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
			if _, err := tx.ExecContext(ctx, "update stock set amount = amount - 1 where item = 'lamp'"); err != nil {
				return err
			}
			close(locked)
			<-end
			return nil
		}, dbfx.Name("recount stock"))
	})
	<-locked
	for range waiters {
		wg.Go(func() {
			_ = s.orders.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
				_, err := tx.ExecContext(ctx, "update stock set amount = amount - $1 where item = $2", 1, "lamp")
				return err
			}, dbfx.Name("sell lamp"))
		})
	}
	var once sync.Once
	release = func() {
		once.Do(func() {
			close(end)
			wg.Wait()
			cancel()
		})
	}
	t.Cleanup(release)
	return release
}
