package postgres

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/sergas/dbkit/dbfx/internal/engine"
)

// connector opens guarded connections. It is used by its pointer: fmt prints
// that as an address, and the configuration of pgx with the password.
type connector struct {
	opt     *Options
	onBegin []string // what a session runs first
	begins  sync.Map // preamble by beginKey
	supply  *supply
	hosts   hosts

	mu     sync.Mutex
	parsed []target // as they were read last

	dials    atomic.Int64 // for the pool, ever
	expired  atomic.Int64 // how many of the first dials gave what is to be replaced
	silences silences
	prepared atomic.Bool // the server takes the password as SASLprep makes it
}

var (
	_ driver.Connector = (*connector)(nil)
	_ io.Closer        = (*connector)(nil)
)

// unlimitedLate is how many late connections a pool without a limit keeps.
const unlimitedLate = 16

func newConnector(opt *Options) *connector {
	keep := opt.PoolSize + opt.MaxOverflow
	if opt.PoolSize == 0 || opt.MaxOverflow < 0 || opt.NoPool {
		keep = unlimitedLate
	}
	c := &connector{opt: opt, onBegin: opt.onBegin()}
	c.supply = newSupply(keep, c.open)
	c.supply.paced = !opt.NoPool && opt.Recycle != 0 // else each request has a dial of its own
	return c
}

// Connect implements driver.Connector. ctx bounds the wait and not the dial.
func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	opened, err := c.take(ctx)
	if err != nil {
		return nil, err
	}
	return opened, nil
}

// take returns a connection of the pool. One that another request gave back may
// have a ROLLBACK on its way.
func (c *connector) take(ctx context.Context) (*conn, error) {
	for {
		opened, err := c.supply.take(ctx)
		if err != nil || !opened.wire.left() || opened.settle(ctx) == nil {
			return opened, err
		}
		_ = opened.Close()
	}
}

// Close implements io.Closer, which sql.DB.Close calls: it ends the dials.
func (c *connector) Close() error {
	c.supply.close()
	return nil
}

// Driver implements driver.Connector.
func (c *connector) Driver() driver.Driver { return stdlib.GetDefaultDriver() }

// Probe asks the server past the pool whether it lives. A server without a place
// for another connection does.
func (c *connector) Probe(ctx context.Context) error {
	ctx, leave, err := c.supply.join(ctx)
	if err != nil {
		return err
	}
	defer leave()
	opened, err := c.dial(ctx)
	if err != nil {
		if isFull(err) {
			return nil
		}
		return err
	}
	return opened.Close()
}

// open dials for the pool.
func (c *connector) open(ctx context.Context) (*conn, error) {
	number := c.dials.Add(1)
	opened, err := c.dial(ctx)
	if err != nil {
		return nil, err
	}
	conn := c.wrap(opened)
	conn.number = number
	c.age(conn)
	return conn, nil
}

// wrap makes the connection that database/sql sees of pgx's.
func (c *connector) wrap(raw *stdlib.Conn) *conn {
	own := raw.Conn().PgConn().CustomData()
	return &conn{
		stdConn: raw, witness: own[witnessKey].(*witness), wire: own[wireKey].(*wire),
		plain:     c.opt.Args["default_query_exec_mode"] == "simple_protocol",
		connector: c, trace: engine.Tracer{Trace: c.opt.Trace},
	}
}

// dial asks for the password and dials. A password that the source gave and the
// server refuses may just have been replaced: the source is asked once more.
func (c *connector) dial(ctx context.Context) (*stdlib.Conn, error) {
	targets, err := c.targets(ctx)
	if err != nil {
		return nil, err
	}
	source := c.opt.PasswordSource
	if source == nil {
		return c.login(ctx, targets, targets[0].cfg.Password)
	}
	for again := false; ; again = true {
		bounded, cancel := context.WithTimeout(ctx, c.patience())
		password, err := source(bounded)
		cancel()
		if err != nil {
			return nil, &sourceError{err}
		}
		opened, err := c.login(ctx, targets, password)
		if again || !refusedPassword(err) {
			return opened, err
		}
	}
}

// login dials with the password as it is, and as SASLprep makes it where that
// differs: which one the server knows depends on how it asks.
func (c *connector) login(ctx context.Context, targets []target, password string) (*stdlib.Conn, error) {
	forms := []string{password}
	if other := saslprep(password); other != password {
		forms = append(forms, other)
	}
	first := 0
	if len(forms) > 1 && c.prepared.Load() {
		first = 1
	}
	opened, err := c.race(ctx, targets, forms[first])
	if len(forms) > 1 && wrongPassword(err) {
		if opened, err = c.race(ctx, targets, forms[1-first]); err == nil {
			c.prepared.Store(first == 0)
		}
	}
	return opened, err
}

// refusedPassword reports whether the server refused who asks.
func refusedPassword(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && strings.HasPrefix(pg.Code, "28")
}

// wrongPassword reports whether the server refused the password.
func wrongPassword(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == "28P01"
}

// sourceError is the failure of the program's own PasswordSource.
type sourceError struct{ err error }

func (e *sourceError) Error() string { return "password source: " + e.err.Error() }
func (e *sourceError) Unwrap() error { return e.err }
