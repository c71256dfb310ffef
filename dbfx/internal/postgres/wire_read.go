package postgres

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"
)

// headerSize is the kind of a message, and its length without the kind.
const headerSize = 5

// wireBuffer is above what a server answers to a small first statement, so that
// one read gets it all.
const wireBuffer = 2048

// reading is where a wire stands in what the server sends.
type reading struct {
	looking atomic.Bool // there are answers to take out, or raw is not empty

	// Of the message of which pgx has got a part, or that has ended: the boundaries
	// of messages must be known all the time, as pgx may hold half of one, such as a
	// notification, when there begins to be something to take out.
	header [headerSize]byte
	have   int // bytes of header
	rest   int // bytes of the body that are to come

	buffer []byte
	raw    []byte // the part of buffer that has been read and not passed on
	err    error  // what ended the reading
}

// Read implements io.Reader for pgx's frontend.
func (w *wire) Read(p []byte) (int, error) {
	if !w.looking.Load() {
		n, err := w.in.Read(p)
		w.follow(p[:n])
		return n, err
	}
	for {
		switch n, err := w.next(p); {
		case n > 0 || err != nil:
			return n, err
		case !w.looking.Load():
			return w.Read(p)
		}
	}
}

// next passes on a piece of what the server sends, or takes a message out, or
// reads more.
func (w *wire) next(p []byte) (int, error) {
	switch {
	case w.err != nil:
		return 0, w.err
	case w.done():
		n := copy(p, w.raw)
		w.follow(p[:n])
		w.raw = w.raw[n:]
		w.looking.Store(len(w.raw) > 0)
		return n, nil
	case w.inside():
		return w.piece(p)
	}
	size, whole := w.size()
	if !whole {
		return 0, w.fill(size)
	}
	take, err := w.judge(w.raw[:size])
	if err != nil {
		w.err = err // nothing of this connection can be trusted
		return 0, err
	}
	if take {
		w.raw = w.raw[size:]
		return 0, nil
	}
	return w.piece(p)
}

// piece passes on what there is of the message that stands first.
func (w *wire) piece(p []byte) (int, error) {
	if len(w.raw) == 0 {
		n, err := w.in.Read(p[:min(len(p), w.lacks())])
		w.follow(p[:n])
		return n, err
	}
	n := copy(p, w.raw[:min(len(w.raw), w.lacks())])
	w.follow(p[:n])
	w.raw = w.raw[n:]
	return n, nil
}

// inside reports whether pgx has got a part of a message and not all of it.
func (w *wire) inside() bool { return w.have > 0 || w.rest > 0 }

// lacks is how much of the header or of the body is to come.
func (w *wire) lacks() int {
	if w.rest > 0 {
		return w.rest
	}
	return headerSize - w.have
}

// follow keeps the boundaries of messages in what is passed on.
func (w *wire) follow(b []byte) {
	for len(b) > 0 {
		if w.rest >= len(b) {
			w.rest -= len(b)
			return
		}
		b, w.rest = b[w.rest:], 0
		if w.have == 0 && len(b) >= headerSize {
			b, w.rest = b[headerSize:], bodySize(b)
			continue
		}
		n := copy(w.header[w.have:], b)
		w.have += n
		b = b[n:]
		if w.have == headerSize {
			w.have, w.rest = 0, bodySize(w.header[:])
		}
	}
}

func bodySize(header []byte) int { return max(int(binary.BigEndian.Uint32(header[1:]))-4, 0) }

// size returns how much of raw must be there to judge the message that stands
// first: all of one that may be taken out, and of others the header.
func (w *wire) size() (size int, whole bool) {
	size = headerSize
	if len(w.raw) >= headerSize {
		switch w.raw[0] {
		case '1', '2', 'C', 'D', 'Z':
			size += bodySize(w.raw)
		}
	}
	return size, len(w.raw) >= size
}

// fill reads once, towards size bytes in raw.
func (w *wire) fill(size int) error {
	if size > wireBuffer {
		// No answer to BEGIN or ROLLBACK is that long.
		w.err = fmt.Errorf("%w: a message of %d bytes", errProtocol, size)
		return w.err
	}
	if w.buffer == nil {
		w.buffer = make([]byte, wireBuffer)
	}
	have := copy(w.buffer, w.raw)
	n, err := w.in.Read(w.buffer[have:])
	w.raw = w.buffer[:have+n]
	if n > 0 {
		return nil // the error comes again
	}
	return err
}

// done reports whether there is nothing to take out.
func (w *wire) done() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.rollback && w.waits == 0
}

// judge says whether message, of which other kinds than an answer to BEGIN or
// ROLLBACK have only the header, is to be taken out.
func (w *wire) judge(message []byte) (take bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	kind := message[0]
	switch {
	case !w.rollback && w.waits == 0, kind == 'N', kind == 'S', kind == 'A':
		return false, nil
	case w.rollback:
		return w.judgeRollback(message)
	case w.given:
		return false, errSilent
	}
	if w.phase == sent && kind != 'E' {
		w.phase = answered
	}
	switch kind {
	case '1', '2':
		return true, nil
	case 'D':
		if w.role = w.begin.wrong != "" && string(message[headerSize:]) == row(w.begin.wrong); w.role {
			return false, errRole
		}
		return true, nil
	case 'C':
		w.waits--
		return true, nil
	case 'E':
		w.refuse()
		return false, nil
	}
	return false, fmt.Errorf("%w: %q", errProtocol, kind)
}

// row is the body of a row with one value.
func row(value string) string { return "\x00\x01\x00\x00\x00" + string(rune(len(value))) + value }

func (w *wire) judgeRollback(message []byte) (take bool, err error) {
	switch kind := message[0]; kind {
	case 'C':
		return true, nil
	case 'Z':
		if w.rollback = false; message[headerSize] != 'I' {
			return false, errLeft
		}
		return true, nil
	case 'E':
		return false, nil // the farewell of a server that stops
	default:
		return false, fmt.Errorf("%w: %q", errProtocol, kind)
	}
}

// refuse is called with the lock held, when the server has refused a statement of
// the preamble and skips what came with it. A BEGIN that was refused rides again
// with the next request, so that nothing runs outside of a transaction while
// someone believes that there is one.
func (w *wire) refuse() {
	if w.waits == w.begin.statements {
		w.phase = refused
	}
	w.waits = 0
	if w.simple {
		_, _ = w.out.Write(syncMessage) // a connection that is gone fails at the next read
	}
}
