package fxtest_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"testing"
	"time"

	"go.uber.org/fx"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

// limitedConnector is an observer that gives each statement a limit of its own.
type limitedConnector struct{ driver.Connector }

func (c limitedConnector) Connect(ctx context.Context) (driver.Conn, error) {
	inner, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &limitedConn{inner.(limitable)}, nil
}

func (c limitedConnector) Close() error { return c.Connector.(io.Closer).Close() }

// limitable is what database/sql asks of the connections of dbfx.
type limitable interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.SessionResetter
	driver.Validator
}

type limitedConn struct{ limitable }

func (c *limitedConn) Raw() driver.Conn { return c.limitable }

func (c *limitedConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return c.limitable.ExecContext(ctx, query, args)
}

// An observer that gives the statements a limit does not take from them the end of
// their own context.
func TestSession_AContextThatAnObserverHasMadeEndsWithItsOwn(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		long := "select pg_sleep(30)"
		if cfg.Dialect() == dbfx.SQLite {
			long = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 300000000) select count(*) from n"
		}
		app := fxtest.New(t, fxtest.Use(cfg), fx.Supply(dbfx.Opener(func(_ dbfx.HandleInfo, c driver.Connector) *sql.DB {
			return sql.OpenDB(limitedConnector{c})
		})))
		for name, run := range map[string]func(ctx context.Context, tx *dbfx.Session) error{
			"Session": func(ctx context.Context, tx *dbfx.Session) error {
				_, err := tx.ExecContext(ctx, long)
				return err
			},
			"SQLTx": func(ctx context.Context, tx *dbfx.Session) error {
				_, err := tx.SQLTx().ExecContext(ctx, long)
				return err
			},
		} {
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			start := time.Now()
			err := app.Sessions.Run(ctx, run)
			cancel()
			if took := time.Since(start); took > 10*time.Second || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: ended after %s with %v", name, took, err)
			}
		}
	})
}
