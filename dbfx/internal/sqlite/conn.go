package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"time"

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

	bound  bool // a session has it
	gated  bool // and the write gate
	permit bool // and commits
	loose  bool // a BEGIN came as a statement, and so may be open still

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
	leave, err := c.enter(ctx, query)
	if err != nil {
		return nil, err
	}
	defer leave()
	start := c.engine.opt.Trace.Begin()
	result, err := c.rawConn.ExecContext(ctx, query, args)
	if result == nil { // an empty statement; database/sql would panic on it
		result = driver.RowsAffected(0)
	}
	c.state.note(err)
	c.engine.opt.Trace.Exec(ctx, query, args, start, result, err)
	if err != nil {
		return nil, err
	}
	return result, nil
}

// QueryContext implements driver.QueryerContext.
func (c *conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	leave, err := c.enter(ctx, query)
	if err != nil {
		return nil, err
	}
	start := c.engine.opt.Trace.Begin()
	raw, err := c.rawConn.QueryContext(ctx, query, args)
	return c.rows(ctx, query, args, start, leave, raw, err)
}

// PrepareContext implements driver.ConnPrepareContext.
func (c *conn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	if err := c.state.check(); err != nil {
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
			leave()
			return nil, err
		}
	}
	start := c.engine.opt.Trace.Begin()
	c.state.open()
	raw, err := c.rawConn.BeginTx(ctx, driver.TxOptions{ReadOnly: readOnly})
	c.engine.opt.Trace.End(ctx, beginSQL(readOnly), nil, start, 0, err)
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

// ResetSession implements driver.SessionResetter. A transaction that a user
// began with a statement, and left open, must not reach the next one.
func (c *conn) ResetSession(ctx context.Context) error {
	if c.loose {
		c.loose = false
		_, _ = c.rawConn.ExecContext(ctx, "rollback", nil) // fails when there is none
	}
	return c.rawConn.ResetSession(ctx)
}

// enter queues a bare write and refuses what has no transaction any more.
func (c *conn) enter(ctx context.Context, query string) (leave func(), err error) {
	if err := c.state.check(); err != nil {
		return nil, err
	}
	if c.bound {
		if err := engine.CheckControl(query); err != nil {
			c.state.fail(err) // whoever asked for a ROLLBACK must not get a commit
			return nil, err
		}
	}
	word := engine.Keyword(query)
	if word == "BEGIN" || word == "SAVEPOINT" {
		c.loose = true
	}
	return c.queue(ctx, writes(word, query) && !c.state.inTx())
}

// bareWrite is the holder of the gate that is no session.
const bareWrite = "a write through *sql.DB"

// queue takes the write gate for a write that no session and no transaction
// covers. It waits no longer than the busy timeout: the holder may be the very
// goroutine that asks.
func (c *conn) queue(ctx context.Context, write bool) (leave func(), err error) {
	if !write || c.reader || c.gated || c.engine.opt.Memory {
		return func() {}, nil
	}
	gate, start := c.engine.gate, time.Now()
	bounded, cancel := context.WithTimeoutCause(ctx, c.engine.opt.BusyTimeout, errBusyTimeout)
	defer cancel()
	err = gate.Enter(bounded, bareWrite)
	if err == nil {
		return gate.Leave, nil
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	holder, held := gate.Holder()
	switch holder {
	case bareWrite:
	case "":
		holder = "a session"
	default:
		holder = fmt.Sprintf("session %q", holder)
	}
	return nil, &engine.LockedError{
		Waited: time.Since(start), Holder: holder, Held: held,
		Advice: "inside Run write through the Session; SQLITE_BUSY_TIMEOUT bounds this wait",
	}
}

// Bind implements engine.Link.
func (c *conn) Bind(gated bool) { c.bound, c.gated, c.permit = true, gated, false }

// Permit implements engine.Link.
func (c *conn) Permit() { c.permit = true }

// Unbind implements engine.Link.
func (c *conn) Unbind() { c.bound, c.gated, c.permit = false, false, false }

// State implements engine.Link.
func (c *conn) State() engine.State { return c.state.read() }

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
