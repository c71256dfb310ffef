package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// wire stands between pgx and the network, below the witness. With it BEGIN needs no
// round trip of its own, and ROLLBACK need not be waited for: the wire puts
// BEGIN, without Sync, in front of the next request that runs something, and
// takes the answers to it out of what pgx reads. pgx and its database/sql driver
// know nothing of that.
//
// Without Sync the server skips the request, too, when it refuses BEGIN: a
// statement never runs outside of the transaction that it was meant for. The
// same holds for a simple query, which is sent after BEGIN with nothing between;
// the Sync that ends the skipping is then sent by the reader, when the refusal
// is there. A Sync sent in advance would be a second ReadyForQuery, except
// behind a COPY that has begun to read, which swallows it.
//
// A Batch of pgx goes past its frontend, straight to the network: BEGIN must be sent
// before a *pgx.Conn is handed out.
type wire struct {
	in  io.Reader // pgx's background reader
	out io.Writer // the network

	mu       sync.Mutex // pgx writes COPY's data and its farewell in other goroutines
	begin    preamble   // of the transaction
	phase    phase
	simple   bool // BEGIN stands before a simple query
	flushes  bool // the server is to answer BEGIN before it runs what comes with it
	given    bool // up: no answer to BEGIN counts any more
	waits    int  // statements of begin whose answer has not come
	rollback bool // a ROLLBACK is sent, and its answer has not been read
	role     bool // the server has said that it is not what it should be

	reading // only by whoever reads
}

// phase is how far the BEGIN of a wire has come.
type phase byte

const (
	idle     phase = iota // there is none
	armed                 // it rides with the next request
	refused               // it did, the server refused it, and it rides with the next request again
	sent                  // nothing of its answer has come
	answered              // some of its answer has come, or all of it
)

// preamble is one or more statements without arguments, as they go over the
// wire: BEGIN, and what is to be set in its transaction.
type preamble struct {
	messages   []byte
	statements int
	wrong      string // the one value of a row that no server may answer; "" is none
}

// newPreamble encodes statements.
func newPreamble(statements ...string) (preamble, error) {
	p := preamble{statements: len(statements)}
	for _, text := range statements {
		for _, message := range []pgproto3.FrontendMessage{
			&pgproto3.Parse{Query: text}, &pgproto3.Bind{}, &pgproto3.Execute{},
		} {
			encoded, err := message.Encode(p.messages)
			if err != nil {
				return preamble{}, err
			}
			p.messages = encoded
		}
	}
	return p, nil
}

var (
	errProtocol = errors.New("unexpected answer to BEGIN or ROLLBACK")
	errLeft     = fmt.Errorf("%w: ROLLBACK has left a transaction", errProtocol)
	errSilent   = errors.New("no answer to BEGIN, while the server answers others")
	errPipeline = errors.New("a pipeline cannot be the first thing in a session")
)

// flushMessage makes a server send the answers that it has.
var flushMessage = []byte{'H', 0, 0, 0, 4}

// syncMessage ends the skipping of a server that has refused a request.
var syncMessage = []byte{'S', 0, 0, 0, 4}

// wireKey is where pgconn keeps the wire of a connection.
const wireKey = "dbfx.wire"

func newWire(in io.Reader, out io.Writer) *wire { return &wire{in: in, out: out} }

// arm lets begin ride with the next request.
func (w *wire) arm(begin preamble) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.begin, w.phase, w.flushes = begin, armed, false
}

// flush has the server answer to BEGIN before it runs what comes with it. Else it
// may keep the answer back until it has run that.
func (w *wire) flush() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.flushes = true
}

// unanswered reports whether BEGIN was sent and nothing of its answer has come.
func (w *wire) unanswered() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.phase == sent
}

// abandon makes the wire refuse the answer to BEGIN, if nothing of it has come.
func (w *wire) abandon() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.given = w.phase == sent
	return w.given
}

// disarm ends what arm began. It reports whether nothing is left to end on the
// server: BEGIN was not sent, or it was refused.
func (w *wire) disarm() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	unsent := w.rides()
	w.phase = idle
	return unsent
}

// rides is called with the lock held.
func (w *wire) rides() bool { return w.phase == armed || w.phase == refused }

// at returns how far BEGIN has come.
func (w *wire) at() phase {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.phase
}

// waiting reports whether BEGIN has still to be sent, or sent again.
func (w *wire) waiting() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rides()
}

// deserted reports whether the server has answered nothing to BEGIN, or what no
// server may. The statements that rode with BEGIN have left no trace then.
func (w *wire) deserted() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.phase != idle && w.phase != answered || w.role
}

// status is the transaction status as the server will report it. pgx knows the
// one before a BEGIN that is armed and before a ROLLBACK that is on its way.
func (w *wire) status(reported byte) byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.phase == armed:
		return 'T'
	case w.phase == refused:
		return 'E'
	case w.rollback:
		return 'I'
	}
	return reported
}

// Write implements io.Writer for pgx's frontend, which writes whole messages.
func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	if !w.rides() {
		w.mu.Unlock()
		return w.out.Write(p)
	}
	at, err := firstRequest(p)
	if err != nil || at < 0 {
		w.mu.Unlock()
		if err != nil {
			return 0, err
		}
		return w.out.Write(p)
	}
	w.phase, w.waits, w.simple = sent, w.begin.statements, p[at] == 'Q'
	begin := w.begin.messages
	if w.flushes {
		begin = append(begin[:len(begin):len(begin)], flushMessage...)
	}
	w.looking.Store(true)
	w.mu.Unlock()

	both := make([]byte, 0, len(begin)+len(p))
	both = append(append(append(both, p[:at]...), begin...), p[at:]...)
	n, err := w.out.Write(both)
	if n <= at {
		return n, err
	}
	// pgx takes a request of which nothing was sent for one that may be repeated:
	// this one has been sent in part.
	return max(n-len(begin), at+1), err
}

// firstRequest returns where the first message of p that runs something begins,
// -1 if there is none. Closing a statement, which database/sql does at any time,
// runs nothing; neither does the farewell, nor the data of a COPY that was refused.
func firstRequest(p []byte) (int, error) {
	first, synced := -1, false
	for i := 0; i+5 <= len(p); {
		switch p[i] {
		case 'C', 'H', 'X', 'd', 'c', 'f':
		case 'S':
			synced = first >= 0
		default:
			if synced {
				return 0, errPipeline // it would run although BEGIN was refused
			}
			if first < 0 {
				first = i
			}
		}
		i += 1 + int(binary.BigEndian.Uint32(p[i+1:]))
	}
	return first, nil
}

// leave sends ROLLBACK and does not wait for the answer: what is read next skips
// it. It must not be called while a result is being read.
func (w *wire) leave(pg *pgconn.PgConn, within time.Duration) error {
	w.mu.Lock()
	w.phase, w.rollback = idle, true
	w.looking.Store(true)
	w.mu.Unlock()
	line := pg.Conn()
	if err := line.SetWriteDeadline(time.Now().Add(within)); err != nil {
		return err
	}
	pg.Frontend().SendQuery(&pgproto3.Query{String: "rollback"})
	if err := pg.Frontend().Flush(); err != nil {
		return err
	}
	return line.SetWriteDeadline(time.Time{})
}

// left reports whether a ROLLBACK waits for its answer.
func (w *wire) left() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rollback
}

// drain waits for the answer to ROLLBACK, if one is on its way. A request outside
// of a session must not be sent before it: when the server has died meanwhile, the
// request would fail although the connection was known to be doubtful.
func (w *wire) drain(ctx context.Context, pg *pgconn.PgConn) error {
	w.mu.Lock()
	waits := w.rollback
	w.rollback = false
	w.mu.Unlock()
	for waits {
		message, err := pg.ReceiveMessage(ctx)
		if err != nil {
			return err
		}
		if ready, ended := message.(*pgproto3.ReadyForQuery); ended {
			if ready.TxStatus != 'I' { // someone has had it cancelled
				return errLeft
			}
			waits = false
		}
	}
	return nil
}
