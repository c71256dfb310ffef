package fxtest

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// wire carries one connection, message by message as PostgreSQL's protocol has
// them: a COMMIT must be seen as a whole, and its answer told from those before.
type wire struct {
	link           *Link
	client, server net.Conn
	requests       chan request
	ended          chan struct{}
	once           sync.Once

	prepared map[string]string // statements by name; these two are write's alone
	ran      string            // the texts of this transaction

	asked  atomic.Int64 // messages that ReadyForQuery answers
	secret atomic.Int64 // the one whose answer is lost; 0 is none
}

// request is a message of the client's, and when it is to arrive.
type request struct {
	message []byte
	due     time.Time
}

func newWire(l *Link, client, server net.Conn) *wire {
	return &wire{link: l, client: client, server: server, requests: make(chan request, 1024), ended: make(chan struct{}), prepared: map[string]string{}}
}

func (w *wire) close() {
	w.once.Do(func() {
		close(w.ended)
		_ = w.client.Close()
		_ = w.server.Close()
	})
}

func (w *wire) run() {
	var wg sync.WaitGroup
	for _, part := range []func(){w.read, w.write, w.answer} {
		wg.Go(func() {
			defer w.close()
			part()
		})
	}
	wg.Wait()
}

// read takes the client's messages off the line.
func (w *wire) read() {
	in := bufio.NewReader(w.client)
	first, err := w.startup(in)
	for message := first; err == nil; message, err = readMessage(in) {
		select {
		case w.requests <- request{message, w.link.due()}:
		case <-w.ended:
			return
		}
	}
	// What was sent before the client's end must still arrive.
	select {
	case w.requests <- request{due: w.link.due()}:
	case <-w.ended:
	}
	<-w.ended
}

const (
	askTLS = 80877103 // SSLRequest
	askGSS = 80877104 // GSSENCRequest
)

// startup reads the first message, which has no type, and refuses encryption.
func (w *wire) startup(in io.Reader) ([]byte, error) {
	for {
		head := make([]byte, 8)
		if _, err := io.ReadFull(in, head); err != nil {
			return nil, err
		}
		switch binary.BigEndian.Uint32(head[4:]) {
		case askTLS, askGSS:
			if _, err := w.client.Write([]byte{'N'}); err != nil {
				return nil, err
			}
			continue
		}
		return rest(in, head, int(binary.BigEndian.Uint32(head)))
	}
}

// longest bounds a message, against what is no PostgreSQL client.
const longest = 1 << 30

// readMessage reads a message: its type, its length without the type, its body.
func readMessage(in io.Reader) ([]byte, error) {
	head := make([]byte, 5)
	if _, err := io.ReadFull(in, head); err != nil {
		return nil, err
	}
	return rest(in, head, int(binary.BigEndian.Uint32(head[1:]))+1)
}

func rest(in io.Reader, head []byte, length int) ([]byte, error) {
	if length < len(head) || length > longest {
		return nil, errors.New("not a message of PostgreSQL's protocol")
	}
	message := make([]byte, length)
	_, err := io.ReadFull(in, message[copy(message, head):])
	return message, err
}

// write gives the messages to the server when they are due.
func (w *wire) write() {
	for started := false; ; started = true {
		var r request
		select {
		case r = <-w.requests:
		case <-w.ended:
			return
		}
		timer := time.NewTimer(time.Until(r.due))
		select {
		case <-timer.C:
		case <-w.ended:
			timer.Stop()
			return
		}
		if !w.link.pass(w.ended) || r.message == nil || started && !w.note(r.message) {
			return
		}
		if _, err := w.server.Write(r.message); err != nil {
			return
		}
	}
}

// note counts the messages that are answered by ReadyForQuery, and reports
// whether this one may pass.
func (w *wire) note(message []byte) bool {
	ready := message[0] == 'Q' || message[0] == 'S' || message[0] == 'F'
	asked := w.asked.Load()
	text := w.text(message)
	w.ran += text + "\n"
	commits, ends := endsIn(text)
	if commits {
		switch w.link.trap(w.ran) {
		case BeforeCommit:
			return false
		case AfterCommit:
			w.secret.Store(asked + 1)
		}
	}
	if ends {
		w.ran = ""
	}
	if ready {
		w.asked.Store(asked + 1)
	}
	return true
}

// text returns what a message runs: a Query's text, or that of the statement which
// a Bind names.
func (w *wire) text(message []byte) string {
	first, rest, _ := bytes.Cut(message[5:], []byte{0})
	second, _, _ := bytes.Cut(rest, []byte{0})
	switch message[0] {
	case 'Q':
		return string(first)
	case 'P': // the statement's name, its text
		w.prepared[string(first)] = string(second)
	case 'B': // the portal's name, the statement's
		return w.prepared[string(second)]
	}
	return ""
}

// answer passes the server's messages on, until the answer that is to be lost is
// complete.
func (w *wire) answer() {
	in := bufio.NewReader(w.server)
	answered := int64(-1) // the first ReadyForQuery ends the startup
	for {
		message, err := readMessage(in)
		if err != nil || !w.link.pass(w.ended) {
			return
		}
		secret := w.secret.Load()
		lost := secret != 0 && answered == secret-1
		if message[0] == 'Z' {
			answered++
			if lost {
				return
			}
		}
		if lost {
			continue
		}
		if _, err := w.client.Write(message); err != nil {
			return
		}
	}
}
