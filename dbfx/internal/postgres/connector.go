package postgres

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/sergas/dbkit/dbfx/internal/engine"
)

// connector opens guarded connections. It is used by its pointer: fmt prints
// that as an address, and the connector of pgx with the password.
type connector struct {
	opt     *Options
	onBegin string // what a session runs first; "" is nothing

	once sync.Once
	pgx  driver.Connector
	err  error

	generation atomic.Int64 // connections born before it, in nanoseconds, are replaced
}

var _ driver.Connector = (*connector)(nil)

// Connect implements driver.Connector. A password that the source gave and the
// server refuses may just have been replaced: the source is asked once more.
func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	base, err := c.base()
	if err != nil {
		return nil, err
	}
	opened, err := c.dial(ctx, base)
	if c.opt.PasswordSource != nil && refusedPassword(err) {
		opened, err = c.dial(ctx, base)
	}
	if err != nil {
		return nil, err
	}
	raw, ok := opened.(*stdlib.Conn)
	if !ok {
		_ = opened.Close()
		return nil, fmt.Errorf("pgx: unexpected connection %T", opened)
	}
	conn := &conn{stdConn: raw, connector: c, trace: engine.Tracer{Trace: c.opt.Trace}}
	c.age(conn)
	return conn, nil
}

// passwordKey carries the source's password to the connector of pgx.
type passwordKey struct{}

func (c *connector) dial(ctx context.Context, base driver.Connector) (driver.Conn, error) {
	if c.opt.PasswordSource != nil {
		password, err := c.opt.PasswordSource(ctx)
		if err != nil {
			return nil, fmt.Errorf("password source: %w", err)
		}
		ctx = context.WithValue(ctx, passwordKey{}, password)
	}
	return base.Connect(ctx)
}

// refusedPassword reports whether the server refused who asks.
func refusedPassword(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && strings.HasPrefix(pg.Code, "28")
}

// Driver implements driver.Connector.
func (c *connector) Driver() driver.Driver { return stdlib.GetDefaultDriver() }

// base builds pgx's connector at the first use: it reads certificates.
func (c *connector) base() (driver.Connector, error) {
	c.once.Do(func() {
		var cfg *pgx.ConnConfig
		if cfg, c.err = c.opt.config(); c.err != nil {
			return
		}
		options := []stdlib.OptionOpenDB{
			stdlib.OptionShouldPing(func(context.Context, stdlib.ShouldPingParams) bool { return false }), // conn.ResetSession does
			stdlib.OptionBeforeConnect(c.beforeConnect),
		}
		c.pgx = stdlib.GetConnector(*cfg, options...)
	})
	return c.pgx, c.err
}

// beforeConnect sets what differs from one connection to the next.
func (c *connector) beforeConnect(ctx context.Context, cfg *pgx.ConnConfig) error {
	if password, ok := ctx.Value(passwordKey{}).(string); ok {
		cfg.Password = password
	}
	if c.opt.Args["load_balance_hosts"] == "random" {
		return stdlib.RandomizeHostOrderFunc(ctx, cfg)
	}
	return nil
}
