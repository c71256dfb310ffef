package dbfx

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"testing"
)

// database/sql panics where a sql.Conn is used while it is closed: such a use must
// be refused before it, also when it has seen a session that was not done yet.
func TestSession_AStatementThatComesLateDoesNotReachTheConnection(t *testing.T) {
	t.Parallel()
	cfg := DefaultConfig()
	cfg.SQLitePath = filepath.Join(t.TempDir(), "late.db")
	db, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close(context.Background()) }()
	var late *Session
	beside := make(chan error, 1)
	errEnd := errors.New("end")
	err = db.Sessions().Run(t.Context(), func(ctx context.Context, tx *Session) error {
		late = tx
		if !tx.root.use() { // as a statement does
			return errors.New("the connection is gone")
		}
		go func() {
			<-ctx.Done() // fn has returned
			_, err := tx.root.conn.ExecContext(context.Background(), "select 1")
			tx.root.used()
			beside <- err
		}()
		return errEnd
	})
	if !errors.Is(err, errEnd) {
		t.Error(err)
	}
	if err := <-beside; err == nil || errors.Is(err, sql.ErrConnDone) {
		t.Errorf("want the statement refused by the connection, got %v", err)
	}
	late.done.Store(false)
	ctx := t.Context()
	if _, err := late.ExecContext(ctx, "select 1"); !errors.Is(err, ErrSessionDone) {
		t.Error(err)
	}
	if err := late.QueryRowContext(ctx, "select 1").Scan(new(int)); !errors.Is(err, ErrSessionDone) {
		t.Error(err)
	}
	if _, err := late.PrepareContext(ctx, "select 1"); !errors.Is(err, ErrSessionDone) {
		t.Error(err)
	}
	if err := late.Raw(func(any) error { return nil }); !errors.Is(err, ErrSessionDone) {
		t.Error(err)
	}
	if err := late.SQLTx().Rollback(); err == nil {
		t.Error("SQLTx of a session that has ended is open")
	}
	if err := late.root.own(ctx, "select 1"); !errors.Is(err, ErrSessionDone) {
		t.Error(err)
	}
}
