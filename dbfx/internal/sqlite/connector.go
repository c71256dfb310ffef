package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"modernc.org/sqlite"

	"github.com/sergas/dbkit/dbfx/internal/engine"
)

// connector opens connections that are ready: every pragma set and proven.
type connector struct {
	engine  *Engine
	dsn     string
	pragmas []Pragma
	reader  bool // the connections refuse writes
}

var _ driver.Connector = (*connector)(nil)

// Connect implements driver.Connector. It starts again while the file is locked,
// until ctx or the busy timeout ends: the change to WAL has no busy handler, and
// of 96 openings of a new file by 8 processes at once 6 failed without this.
func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	deadline := time.Now().Add(c.engine.opt.BusyTimeout)
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		conn, err := c.connect(ctx)
		if err == nil || primary(err) != codeBusy || time.Now().After(deadline) {
			return conn, err
		}
		timer := time.NewTimer(pause/2 + rand.N(pause))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, context.Cause(ctx)
		}
	}
}

// Driver implements driver.Connector.
func (c *connector) Driver() driver.Driver {
	base, err := sqlite.NewConnector(c.dsn)
	if err != nil {
		return nil
	}
	return base.Driver()
}

func (c *connector) connect(ctx context.Context) (driver.Conn, error) {
	if err := c.engine.Prepare(ctx); err != nil {
		return nil, err
	}
	base, err := sqlite.NewConnector(c.dsn)
	if err != nil {
		return nil, err
	}
	opened, err := base.Connect(ctx)
	if err != nil {
		return nil, err
	}
	raw, ok := opened.(rawConn)
	if !ok {
		_ = opened.Close()
		return nil, fmt.Errorf("modernc.org/sqlite: unexpected connection %T", opened)
	}
	if readOnly, err := raw.IsReadOnly("main"); err == nil && readOnly {
		_ = opened.Close()
		return nil, errReadOnlyFile
	}
	conn := &conn{
		rawConn: raw, engine: c.engine, trace: engine.Tracer{Trace: c.engine.opt.Trace}, reader: c.reader, born: time.Now().UnixNano(), db: handle(raw), cache: newCache(c.engine.opt.StatementCache),
	}
	// The driver runs the DSN's pragmas without a deadline: a ping of 100 ms took
	// two seconds against a locked file. These run under ctx.
	for _, p := range c.pragmas {
		if err := conn.apply(ctx, p); err != nil {
			_ = conn.Close()
			return nil, err
		}
	}
	conn.guard(raw)
	return conn, nil
}

// errReadOnlyFile: SQLite falls back to reading without a word.
var errReadOnlyFile = errors.New("the file cannot be written")

// apply runs one pragma and reads it back: SQLite answers neither an unknown
// name nor a bad value with an error.
func (c *conn) apply(ctx context.Context, p Pragma) error {
	if !p.CheckOnly {
		if _, err := c.rawConn.ExecContext(ctx, "pragma "+p.Name+" = "+p.Value, nil); err != nil {
			return fmt.Errorf("pragma %s: %w", p.Name, err)
		}
	}
	got, err := c.readPragma(ctx, p.Name)
	if err != nil {
		return fmt.Errorf("pragma %s: %w", p.Name, err)
	}
	if got != p.Want {
		return fmt.Errorf("pragma %s: want %s, SQLite answers %q", p.Name, p.Want, got)
	}
	return nil
}

func (c *conn) readPragma(ctx context.Context, name string) (string, error) {
	rows, err := c.rawConn.QueryContext(ctx, "pragma "+name, nil)
	if err != nil {
		return "", err
	}
	defer func() { _ = rows.Close() }()
	value := make([]driver.Value, len(rows.Columns()))
	if err := rows.Next(value); errors.Is(err, io.EOF) || len(value) == 0 {
		return "", nil
	} else if err != nil {
		return "", err
	}
	return fmt.Sprint(value[0]), nil
}
