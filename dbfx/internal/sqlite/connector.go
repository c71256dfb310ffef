package sqlite

import (
	"context"
	"database/sql/driver"
	"io"

	"modernc.org/sqlite"

	"github.com/sergas/dbkit/dbfx/internal/engine"
)

// connector makes the connections that database/sql holds. They cost nothing: each
// takes a real one of SQLite's when it has something to run.
type connector struct{ engine *Engine }

var (
	_ driver.Connector = connector{}
	_ io.Closer        = connector{}
)

// Connect implements driver.Connector.
func (c connector) Connect(context.Context) (driver.Conn, error) {
	return &conn{engine: c.engine, trace: engine.Tracer{Trace: c.engine.opt.Trace}}, nil
}

// Driver implements driver.Connector.
func (c connector) Driver() driver.Driver {
	base, err := sqlite.NewConnector(c.engine.dsn())
	if err != nil {
		return nil
	}
	return base.Driver()
}

// Close implements io.Closer, which sql.DB.Close calls.
func (c connector) Close() error { return c.engine.Close() }
