package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"

	"modernc.org/sqlite"

	"github.com/sergas/dbkit/dbfx/internal/engine"
)

// rawConn is the driver's connection with all that sql.Conn.Raw may want of it.
type rawConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
	sqlite.HookRegisterer
	sqlite.FileControl
	Serialize() ([]byte, error)
	Deserialize([]byte) error
	NewBackup(dstURI string) (*sqlite.Backup, error)
	NewRestore(srcURI string) (*sqlite.Backup, error)
	ColumnInfo(query string) ([]sqlite.ColumnInfo, error)
	RegisterAuthorizer(sqlite.AuthorizerFn) error
	Status(op sqlite.DBStatusOp, reset bool) (current, high int, err error)
	IsReadOnly(schema string) (bool, error)
}

// conn is a connection that queues its writes, never runs a statement outside a
// transaction that SQLite has ended, and tells what it ran.
type conn struct {
	rawConn
	engine *Engine
	reader bool

	bound bool // a session has it
	open  *tx  // the session's transaction, nil before and after it
	loose bool // a BEGIN came as a statement, and so may be open still
	trace engine.Tracer

	born  int64   // in nanoseconds
	db    uintptr // for interrupts; 0 where it is not known
	cache *cache
	state guard
}

var _ engine.Link = (*conn)(nil)

// guard installs the hooks that say when SQLite ends a transaction.
func (c *conn) guard(hooks sqlite.HookRegisterer) {
	hooks.RegisterRollbackHook(c.state.rolledBack)
	hooks.RegisterCommitHook(c.state.committing)
}

// ExecContext implements driver.ExecerContext.
func (c *conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	ctx, _ = engine.Reveal(ctx)
	call, err := c.enter(ctx, query, args, true)
	if err != nil {
		return nil, err
	}
	return c.exec(ctx, args, call, nil)
}

// exec runs a statement: prepared, or else from the cache, or else as text.
func (c *conn) exec(ctx context.Context, args []driver.NamedValue, call call, prepared rawStmt) (result driver.Result, err error) {
	start := c.trace.Begin(call.query)
	inner, watch := c.watch(ctx, call.waits)
	stmt := prepared
	if call.kept != nil {
		stmt = call.kept.stmt
	}
	if stmt != nil {
		result, err = stmt.ExecContext(inner, args)
	} else {
		result, err = c.rawConn.ExecContext(inner, call.query, args)
	}
	watch.end()
	err = because(ctx, err)
	call.end(c, err)
	if result == nil { // an empty statement; database/sql would panic on it
		result = driver.RowsAffected(0)
	}
	c.trace.Exec(ctx, call.query, args, start, result, err)
	if err != nil {
		return nil, err
	}
	return result, nil
}

// QueryContext implements driver.QueryerContext.
func (c *conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	ctx, statement := engine.Reveal(ctx)
	call, err := c.enter(ctx, query, args, true)
	if err != nil {
		return nil, err
	}
	call.statement = statement
	return c.query(ctx, args, call, nil)
}

// query runs a query: prepared, or else from the cache, or else as text.
func (c *conn) query(ctx context.Context, args []driver.NamedValue, call call, prepared rawStmt) (driver.Rows, error) {
	r := &rows{conn: c, ctx: ctx, call: call, args: args, start: c.trace.Begin(call.query)}
	inner, watch := c.watch(ctx, call.waits)
	r.watch = watch
	stmt := prepared
	if call.kept != nil {
		stmt = call.kept.stmt
	}
	var raw driver.Rows
	var err error
	if stmt != nil {
		raw, err = stmt.QueryContext(inner, args)
	} else {
		raw, err = c.rawConn.QueryContext(inner, call.query, args)
	}
	if err != nil {
		err = because(ctx, err)
		r.finish(err, -1)
		return nil, err
	}
	r.rawRows = raw.(rawRows)
	r.kinds = kinds(r.rawRows)
	return r, nil
}

// Close implements driver.Conn.
func (c *conn) Close() error {
	c.cache.close()
	return c.rawConn.Close()
}

// IsValid implements driver.Validator; database/sql asks when a connection comes
// back. A transaction that a user began with a statement, and left open, must not
// hold its lock in the pool. And the driver gives up a connection whose last
// statement was interrupted, which costs the next one 5 to 8 ms; the mark goes
// with the next statement.
func (c *conn) IsValid() bool {
	if c.loose {
		c.loose = false
		_, _ = c.rawConn.ExecContext(context.Background(), "rollback", nil) // fails when there is none
	}
	if c.born <= c.engine.generation.Load() && !c.engine.opt.Memory {
		return false // renewed
	}
	if c.rawConn.IsValid() {
		return true
	}
	_, _ = c.rawConn.ExecContext(context.Background(), "select 1", nil)
	return c.rawConn.IsValid()
}

// PrepareContext implements driver.ConnPrepareContext.
func (c *conn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	ctx, _ = engine.Reveal(ctx)
	if _, err := c.inTx(); err != nil {
		return nil, err
	}
	raw, err := c.rawConn.PrepareContext(ctx, query)
	c.state.note(err)
	if err != nil {
		return nil, err
	}
	return &stmt{rawStmt: raw.(rawStmt), conn: c, query: query}, nil
}

// Prepare implements driver.Conn.
func (c *conn) Prepare(query string) (driver.Stmt, error) {
	return c.PrepareContext(context.Background(), query)
}

// Begin implements driver.Conn.
func (c *conn) Begin() (driver.Tx, error) {
	return c.BeginTx(context.Background(), driver.TxOptions{})
}

// BeginTx implements driver.ConnBeginTx: BEGIN IMMEDIATE, or BEGIN on a
// connection that refuses writes. The driver itself ignores both the isolation
// level and ReadOnly.
func (c *conn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	if c.bound {
		return c.adopt()
	}
	t, err := c.begin(ctx, opts)
	if err != nil {
		return nil, err
	}
	return t, nil
}

// begin begins a transaction, of a session or not.
func (c *conn) begin(ctx context.Context, opts driver.TxOptions) (*tx, error) {
	if err := checkIsolation(sql.IsolationLevel(opts.Isolation)); err != nil {
		return nil, err
	}
	readOnly := opts.ReadOnly || c.reader
	leave, err := c.queue(ctx, !readOnly)
	if err != nil {
		return nil, err
	}
	if readOnly {
		if err := c.SetReadOnly(true); err != nil {
			return nil, err // leave is nil: a reader does not queue
		}
	}
	start := c.trace.Begin(beginSQL(readOnly))
	c.state.open()
	raw, err := c.rawConn.BeginTx(ctx, driver.TxOptions{ReadOnly: readOnly})
	c.trace.End(ctx, beginSQL(readOnly), nil, start, 0, err)
	t := &tx{raw: raw, conn: c, ctx: ctx, leave: leave, readOnly: readOnly}
	if err != nil {
		return nil, t.end(err)
	}
	return t, nil
}

func beginSQL(readOnly bool) string {
	if readOnly {
		return "BEGIN"
	}
	return "BEGIN IMMEDIATE"
}

// State implements engine.Link.
func (c *conn) State() engine.State { return c.state.read() }

// inTx reports whether statements run in a transaction of ours, and refuses them
// after its end.
func (c *conn) inTx() (bool, error) {
	if c.bound && c.open == nil {
		return true, &engine.EndedError{First: c.state.read().First}
	}
	return c.state.enter()
}

// Forgive implements engine.Link.
func (c *conn) Forgive() { c.state.forgive() }

// SetReadOnly implements engine.Link.
func (c *conn) SetReadOnly(on bool) error {
	if c.reader {
		return nil // it always is
	}
	value := "0"
	if on {
		value = "1"
	}
	_, err := c.rawConn.ExecContext(context.Background(), "pragma query_only = "+value, nil)
	return err
}
