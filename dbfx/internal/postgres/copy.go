package postgres

import (
	"errors"

	"github.com/jackc/pgx/v5/pgproto3"
)

// errCopy is the answer to a COPY whose data database/sql has no way to give.
var errCopy = errors.New("COPY … FROM STDIN has no data here: use Session.Raw, and CopyFrom of its *pgx.Conn")

// copyIn is called when the server waits for the data of a COPY. It would wait for
// ever where the statement came through database/sql: pgx sends data only from its
// CopyFrom.
func (w *witness) copyIn() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.source == "" {
		return
	}
	w.copied = true
	answer, err := (&pgproto3.CopyFail{Message: errCopy.Error()}).Encode(nil)
	if err == nil && !w.simple { // COPY has swallowed the Sync
		answer = append(answer, syncMessage...)
	}
	_, _ = w.out.Write(answer) // a line that is gone fails at the next read
}

// handOut says that someone has the connection in hand.
func (w *witness) handOut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.source, w.ran = "", true
}

// ofCopy returns errCopy in the place of the server's error if copyIn has caused it.
func (w *witness) ofCopy(err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil || !w.copied {
		return err
	}
	w.copied = false
	return errCopy
}
