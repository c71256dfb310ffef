package fxtest

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
	"modernc.org/sqlite"
)

// holds knows which connections are out of the pool, and who took them.
type holds struct {
	mu    sync.Mutex
	taken map[any][]uintptr
	dbs   []*sql.DB
}

func (h *holds) take(c any) {
	stack := make([]uintptr, 64)
	stack = stack[:runtime.Callers(3, stack)]
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.taken == nil {
		h.taken = map[any][]uintptr{}
	}
	h.taken[c] = stack
}

func (h *holds) free(c any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.taken, c)
}

func (h *holds) add(db *sql.DB) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.dbs = append(h.dbs, db)
}

// bare returns the places where connections were taken that are still out and
// belong to no session.
//
// A connection that database/sql opened on a goroutine of its own went to whoever
// waited, or, if no one did any more, to the idle ones: it does not say. So of those
// only as many are out as the pools have in use beyond the others.
func (h *holds) bare() []string {
	h.mu.Lock()
	stacks := make([][]uintptr, 0, len(h.taken))
	for _, stack := range h.taken {
		stacks = append(stacks, stack)
	}
	used := 0
	for _, db := range h.dbs {
		used += db.Stats().InUse
	}
	h.mu.Unlock()
	var places, unknown []string
	for _, stack := range stacks {
		switch place := userPlace(stack); place {
		case openerPlace:
			unknown = append(unknown, place)
		case "":
		default:
			places = append(places, place)
		}
	}
	known := len(stacks) - len(unknown)
	places = append(places, unknown[:min(len(unknown), max(0, used-known))]...)
	slices.Sort(places)
	return places
}

const (
	openerPlace = "\ta goroutine of database/sql"
	dbfxPackage = "github.com/sergas/dbkit/dbfx."
	deepest     = 5 // lines of a place
)

// userPlace returns the user's lines of a stack, "" where dbfx took the
// connection for a session or a check.
func userPlace(stack []uintptr) string {
	var lines []string
	frames := runtime.CallersFrames(stack)
	for more := true; more && len(lines) < deepest; {
		var frame runtime.Frame
		frame, more = frames.Next()
		switch name := frame.Function; {
		case strings.HasPrefix(name, dbfxPackage) && len(lines) == 0:
			return ""
		case strings.HasPrefix(name, "database/sql."), strings.HasPrefix(name, "github.com/sergas/dbkit/fxtest."),
			strings.HasPrefix(name, "github.com/sergas/dbkit/dbfx"), strings.HasPrefix(name, "runtime."), strings.HasPrefix(name, "testing."):
		default:
			lines = append(lines, fmt.Sprintf("\t%s\n\t\t%s:%d", name, frame.File, frame.Line))
		}
	}
	if len(lines) == 0 {
		return openerPlace
	}
	return strings.Join(lines, "\n")
}

// heldConnector notes the connections that it makes.
type heldConnector struct {
	driver.Connector
	holds *holds
}

// Connect implements driver.Connector.
func (c *heldConnector) Connect(ctx context.Context) (driver.Conn, error) {
	inner, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	whole, ok := inner.(wholeConn)
	if !ok {
		return inner, nil // of another make: database/sql would miss what it has or lacks
	}
	held := &heldConn{wholeConn: whole, holds: c.holds}
	c.holds.take(held)
	if _, ok := inner.(pgxConn); ok {
		return &heldPgx{held}, nil
	}
	if own, ok := inner.(sqliteConn); ok {
		return &heldSQLite{held, own}, nil
	}
	return held, nil
}

// Close implements io.Closer, which sql.DB.Close calls.
func (c *heldConnector) Close() error {
	if closer, ok := c.Connector.(io.Closer); ok {
		return closer.Close()
	}
	return nil
}

// wholeConn is all that database/sql asks of the connections of dbfx.
type wholeConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

// heldConn notes when database/sql takes and returns it: ResetSession stands at
// the beginning of each use but the first, IsValid at the end.
type heldConn struct {
	wholeConn
	holds *holds
}

// Raw is how dbfx finds its own connection.
func (c *heldConn) Raw() driver.Conn { return c.wholeConn }

// ResetSession implements driver.SessionResetter.
func (c *heldConn) ResetSession(ctx context.Context) error {
	c.holds.take(c)
	err := c.wholeConn.ResetSession(ctx)
	if err != nil {
		c.holds.free(c)
	}
	return err
}

// IsValid implements driver.Validator.
func (c *heldConn) IsValid() bool {
	c.holds.free(c)
	return c.wholeConn.IsValid()
}

// Close implements driver.Conn.
func (c *heldConn) Close() error {
	c.holds.free(c)
	return c.wholeConn.Close()
}

// CheckNamedValue implements driver.NamedValueChecker, which not every
// connection does.
func (c *heldConn) CheckNamedValue(value *driver.NamedValue) error {
	if checker, ok := c.wholeConn.(driver.NamedValueChecker); ok {
		return checker.CheckNamedValue(value)
	}
	return driver.ErrSkip
}

// pgxConn is what users of sql.Conn.Raw ask of a PostgreSQL connection.
type pgxConn interface{ Conn() *pgx.Conn }

// heldPgx keeps the way to pgx open.
type heldPgx struct{ *heldConn }

// Conn returns pgx's connection.
func (c *heldPgx) Conn() *pgx.Conn { return c.wholeConn.(pgxConn).Conn() }

// sqliteConn is what they ask of a SQLite connection.
type sqliteConn interface {
	sqlite.HookRegisterer
	sqlite.FileControl
	Serialize() ([]byte, error)
	Deserialize([]byte) error
	NewBackup(dstURI string) (*sqlite.Backup, error)
	NewRestore(srcURI string) (*sqlite.Backup, error)
}

// heldSQLite keeps the way to modernc's connection open.
type heldSQLite struct {
	*heldConn
	sqliteConn
}
