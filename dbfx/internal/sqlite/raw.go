package sqlite

import (
	"context"
	"database/sql/driver"

	"modernc.org/sqlite"
)

// This file is what sql.Conn.Raw offers beside database/sql's own: the driver's
// methods, on a real connection that c keeps until it goes back. What would stay on
// that connection makes it one that nobody else gets.

// unwrap finds dbfx's connection behind those that observers put around it.
func unwrap(v any) any {
	for {
		outer, ok := v.(interface{ Raw() driver.Conn })
		if !ok {
			return v
		}
		v = outer.Raw()
	}
}

// lend takes a real connection for the driver's methods.
func (c *conn) lend(n need) (*realConn, error) {
	if err := c.acquire(context.Background(), n); err != nil {
		return nil, err
	}
	c.plain = false
	return c.real, nil
}

// lendChanged is lend for a method that leaves something on the connection.
func (c *conn) lendChanged() (*realConn, error) {
	r, err := c.lend(needOwn)
	if err == nil {
		r.changed = true
	}
	return r, err
}

// RegisterCommitHook implements sqlite.HookRegisterer. The hook is called beside
// dbfx's own, for commits that dbfx lets pass.
func (c *conn) RegisterCommitHook(hook sqlite.CommitHookFn) {
	if r, err := c.lendChanged(); err == nil {
		r.commitHook = hook
	}
}

// RegisterRollbackHook implements sqlite.HookRegisterer.
func (c *conn) RegisterRollbackHook(hook sqlite.RollbackHookFn) {
	if r, err := c.lendChanged(); err == nil {
		r.rollbackHook = hook
	}
}

// RegisterPreUpdateHook implements sqlite.HookRegisterer.
func (c *conn) RegisterPreUpdateHook(hook sqlite.PreUpdateHookFn) {
	if r, err := c.lendChanged(); err == nil {
		r.raw.RegisterPreUpdateHook(hook)
	}
}

// RegisterAuthorizer is the driver's.
func (c *conn) RegisterAuthorizer(fn sqlite.AuthorizerFn) error {
	r, err := c.lendChanged()
	if err != nil {
		return err
	}
	return r.raw.RegisterAuthorizer(fn)
}

// FileControlPersistWAL implements sqlite.FileControl.
func (c *conn) FileControlPersistWAL(dbName string, mode int) (int, error) {
	r, err := c.lendChanged()
	if err != nil {
		return 0, err
	}
	return r.raw.FileControlPersistWAL(dbName, mode)
}

// FileControlDataVersion implements sqlite.FileControl.
func (c *conn) FileControlDataVersion(dbName string) (uint32, error) {
	r, err := c.lend(needRead)
	if err != nil {
		return 0, err
	}
	return r.raw.FileControlDataVersion(dbName)
}

// Serialize is the driver's.
func (c *conn) Serialize() ([]byte, error) {
	r, err := c.lend(needRead)
	if err != nil {
		return nil, err
	}
	return r.raw.Serialize()
}

// Deserialize is the driver's.
func (c *conn) Deserialize(data []byte) error {
	r, err := c.lend(needWrite)
	if err != nil {
		return err
	}
	r.changed, c.exposed = true, true
	return r.raw.Deserialize(data)
}

// NewBackup is the driver's.
func (c *conn) NewBackup(dstURI string) (*sqlite.Backup, error) {
	r, err := c.lend(needRead)
	if err != nil {
		return nil, err
	}
	return r.raw.NewBackup(dstURI)
}

// NewRestore is the driver's. The connection keeps the write queue's place until
// it goes back: the restore writes past it.
func (c *conn) NewRestore(srcURI string) (*sqlite.Backup, error) {
	r, err := c.lend(needWrite)
	if err != nil {
		return nil, err
	}
	c.exposed = true
	return r.raw.NewRestore(srcURI)
}

// ColumnInfo is the driver's.
func (c *conn) ColumnInfo(query string) ([]sqlite.ColumnInfo, error) {
	r, err := c.lend(needRead)
	if err != nil {
		return nil, err
	}
	return r.raw.ColumnInfo(query)
}

// Status is the driver's.
func (c *conn) Status(op sqlite.DBStatusOp, reset bool) (current, high int, err error) {
	r, err := c.lend(needRead)
	if err != nil {
		return 0, 0, err
	}
	return r.raw.Status(op, reset)
}

// IsReadOnly is the driver's.
func (c *conn) IsReadOnly(schema string) (bool, error) {
	r, err := c.lend(needRead)
	if err != nil {
		return false, err
	}
	return r.raw.IsReadOnly(schema)
}
