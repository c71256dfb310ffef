package postgres

import (
	"bytes"
	"encoding/binary"
	"io"
	"sync"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/sergas/dbkit/dbfx/internal/engine"
)

// witness stands between pgx's frontend and the line, and sees by the server's own
// answers whether a transaction was ended or begun, whoever asked for it: each
// command that succeeds has a tag. A text can ask where no scanner looks, through
// Session.Raw for one.
//
// It changes nothing of what passes. Another reader and writer of the line can
// stand below it.
type witness struct {
	in  io.Reader
	out io.Writer
	frames

	mu    sync.Mutex // a session asks at any time, and pgx says farewell in a goroutine of its own
	on    bool       // a session's transaction is open
	rules engine.Rules
	told  string // the text that conn has read and will send next
	tells script // what it asks for
	// source is the text for which conn uses the connection, "" while someone else
	// has it in hand.
	source string
	simple bool // the last request is a simple query
	copied bool // a COPY was refused
	undoes

	committed  bool // by a statement
	rolledBack bool // by a statement
	asked      bool // a text that would end the transaction is sent and not answered
	leaves     bool // a text leaves something on the connection
	savepoint  bool // one was set
	ran        bool // a statement of the transaction, or the one outside of it, may have begun to run
	described  bool // the statement that is being sent was described before it ran
	doubt      bool // the wait for the synchronous standby was cancelled
}

// witnessKey is where pgconn keeps the witness of a connection.
const witnessKey = "dbfx.witness"

// frontend is pgconn's BuildFrontendFunc. When a connection is tried several
// times, the last one counts.
func (w *witness) frontend(in io.Reader, out io.Writer) *pgproto3.Frontend {
	w.in, w.out, w.frames, w.rules = in, out, frames{answered: w.answered, copyIn: w.copyIn, bound: w.bindComplete}, engine.PostgreSQL
	return pgproto3.NewFrontend(w, w)
}

// Read implements io.Reader.
func (w *witness) Read(p []byte) (int, error) {
	n, err := w.in.Read(p)
	w.follow(p[:n])
	return n, err
}

// Write implements io.Writer for pgx, which writes whole messages.
func (w *witness) Write(p []byte) (int, error) {
	w.mu.Lock()
	w.asks(p)
	w.mu.Unlock()
	return w.out.Write(p)
}

// begin watches over a new transaction.
func (w *witness) begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.on, w.told, w.sent = true, "", w.sent[:0]
	w.committed, w.rolledBack, w.asked, w.savepoint, w.doubt, w.ran = false, false, false, false, false, false
}

// end lets the session end its transaction.
func (w *witness) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.on, w.doubt = false, false
}

// tell announces a text that conn has read.
func (w *witness) tell(text string, rules engine.Rules, s script) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.told, w.rules, w.tells = text, rules, s
	w.source, w.copied, w.described = text, false, false
	w.ran = w.ran && w.on
	w.leaves = w.leaves || s.leaves
}

// ended says that the server has no transaction open, where the session has one.
func (w *witness) ended() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rolledBack = w.rolledBack || w.on && !w.committed
}

// hadSavepoint reports whether the transaction had a savepoint. One that has failed
// behind a savepoint keeps the locks from before it.
func (w *witness) hadSavepoint() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.savepoint
}

// takeLeaves reports whether a text left something on the connection since it was
// last asked.
func (w *witness) takeLeaves() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	leaves := w.leaves
	w.leaves = false
	return leaves
}

// left says whether a statement has committed the transaction, or may have when
// the connection is lost, and whether one has rolled it back.
func (w *witness) left(lost bool) (committed, rolledBack bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.committed || w.asked && lost, w.rolledBack
}

// doubtful reports whether what was committed may not be on the synchronous
// standby.
func (w *witness) doubtful() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.doubt
}

// notice is pgconn's NoticeHandler. The wait is named by its function, as the text
// is translated.
func (w *witness) notice(_ *pgconn.PgConn, n *pgconn.Notice) {
	if n.Routine != "SyncRepWaitForLSN" {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.doubt = true
}

// asks looks at the texts among whole messages that were not announced. It is
// called with the lock held.
func (w *witness) asks(messages []byte) {
	for len(messages) >= headerLength {
		size := 1 + int(binary.BigEndian.Uint32(messages[1:]))
		if size < headerLength || size > len(messages) {
			return
		}
		body := messages[headerLength:size]
		switch messages[0] {
		case 'P': // the statement's name, its text
			w.simple = false
			name, text, _ := bytes.Cut(body, []byte{0})
			w.prepares(string(name), w.reads(text).undoes)
		case 'B': // the portal's name, the statement's
			w.told, w.simple = "", false
			_, rest, _ := bytes.Cut(body, []byte{0})
			name, _, _ := bytes.Cut(rest, []byte{0})
			w.runs(w.prepared[string(name)])
		case 'D':
			w.described = w.described || len(body) > 0 && body[0] == 'S'
		case 'F':
			w.ran = true
		case 'Q':
			w.simple, w.ran = true, true
			w.runs(w.reads(body).undoes)
			w.ends()
		case 'S':
			w.ends()
		}
		messages = messages[size:]
	}
}

// reads returns what a text asks for that is sent.
func (w *witness) reads(body []byte) script {
	text, _, _ := bytes.Cut(body, []byte{0})
	if string(text) == w.told {
		w.told = "" // once
		return w.tells
	}
	s := readScript(string(text), w.rules)
	w.asked = w.asked || w.on && s.control != nil
	w.leaves = w.leaves || s.leaves
	return s
}

// bindComplete says that the server is about to run a statement.
func (w *witness) bindComplete() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ran = true
}

// answered takes the tag of a command that has succeeded, and "" for the end of a
// request.
func (w *witness) answered(tag string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case tag == "":
		w.asked = false
		w.answeredAll()
	case !w.on:
	case tag == "COMMIT", tag == "PREPARE TRANSACTION":
		w.committed = true
	case tag == "SAVEPOINT":
		w.savepoint = true
	case tag == "ROLLBACK":
		w.rolledBack = w.rolledBack || !w.undone()
	}
}

// headerLength is the kind of a message, and its length without the kind.
const headerLength = 5

// tagLength is above every tag that is asked for.
const tagLength = 24

// frames follows the messages of a stream, whose pieces come as they come.
type frames struct {
	answered func(tag string)
	copyIn   func()
	bound    func()

	header [headerLength]byte
	have   int // bytes of header
	rest   int // bytes of the body that are to come
	tag    []byte
}

// follow takes the next piece.
func (f *frames) follow(piece []byte) {
	for len(piece) > 0 {
		if f.rest > 0 {
			n := min(f.rest, len(piece))
			if f.header[0] == 'C' {
				f.tag = append(f.tag, piece[:min(n, tagLength-min(len(f.tag), tagLength))]...)
			}
			f.rest -= n
			piece = piece[n:]
		} else {
			n := copy(f.header[f.have:], piece)
			f.have += n
			piece = piece[n:]
			if f.have < headerLength {
				return
			}
			f.rest = max(int(binary.BigEndian.Uint32(f.header[1:]))-4, 0)
		}
		if f.rest == 0 {
			f.over()
		}
	}
}

// over takes the end of a message.
func (f *frames) over() {
	switch f.have = 0; f.header[0] {
	case 'C': // CommandComplete: the tag, and a zero
		tag := f.tag
		f.tag = f.tag[:0]
		f.answered(string(bytes.TrimRight(tag, "\x00")))
	case '2': // BindComplete
		f.bound()
	case 'G': // CopyInResponse
		f.copyIn()
	case 'Z': // ReadyForQuery
		f.answered("")
	}
}
