package dbfx

import (
	"context"
	"database/sql"
	"database/sql/driver"

	"github.com/sergas/dbkit/dbfx/internal/engine"
)

// foreign is the link to a connection that is not dbfx's: a graph may have
// replaced its *sql.DB, with that of sqlmock for instance. It works through a
// sql.Tx, as there is no other way.
type foreign struct {
	conn   *sql.Conn
	tx     *sql.Tx
	cancel context.CancelFunc
}

var _ engine.Link = (*foreign)(nil)

// begin begins the transaction on a context of its own, which ctx ends only until
// then: the end of a transaction's context would roll it back.
func (f *foreign) begin(ctx context.Context, opts *sql.TxOptions) (*sql.Tx, error) {
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, cancel)
	tx, err := f.conn.BeginTx(own, opts)
	if !stop() && err == nil {
		_ = tx.Rollback()
		err = context.Cause(ctx)
	}
	if err != nil {
		cancel()
		return nil, err
	}
	f.tx, f.cancel = tx, cancel
	return tx, nil
}

// Start implements engine.Link; begin has begun it.
func (f *foreign) Start(context.Context, *engine.Hold, driver.TxOptions) error { return nil }

// Commit implements engine.Link.
func (f *foreign) Commit(ctx context.Context) error {
	stop := context.AfterFunc(ctx, f.cancel)
	defer stop()
	return f.tx.Commit()
}

// Rollback implements engine.Link.
func (f *foreign) Rollback(ctx context.Context) error {
	if f.tx == nil {
		return nil
	}
	stop := context.AfterFunc(ctx, f.cancel)
	defer stop()
	if err := f.tx.Rollback(); err != sql.ErrTxDone { //nolint:errorlint // bare
		return err
	}
	return nil
}

// Free implements engine.Link.
func (f *foreign) Free() {}

// Unbind implements engine.Link.
func (f *foreign) Unbind() {
	if f.cancel != nil {
		f.cancel()
	}
}

// State implements engine.Link.
func (f *foreign) State() engine.State { return engine.State{} }

// Lend implements engine.Link.
func (f *foreign) Lend(context.Context) {}

// Note implements engine.Link.
func (f *foreign) Note(error) {}

// Forgive implements engine.Link.
func (f *foreign) Forgive() {}

// SetReadOnly implements engine.Link.
func (f *foreign) SetReadOnly(bool) error { return nil }

// deadConnector opens connections on which nothing works but to begin and to end a
// transaction.
type deadConnector struct{}

// Connect implements driver.Connector.
func (deadConnector) Connect(context.Context) (driver.Conn, error) { return deadConn{}, nil }

// Driver implements driver.Connector.
func (deadConnector) Driver() driver.Driver { return nil }

type deadConn struct{}

func (deadConn) Prepare(string) (driver.Stmt, error) { return nil, ErrSessionDone }
func (deadConn) Close() error                        { return nil }
func (deadConn) Begin() (driver.Tx, error)           { return deadConn{}, nil }
func (deadConn) Commit() error                       { return ErrSessionDone }
func (deadConn) Rollback() error                     { return nil }
