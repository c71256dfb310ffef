package sqlite

import (
	"encoding/binary"
	"errors"
	"math/bits"
	"reflect"

	"modernc.org/libc"
	"modernc.org/libc/sys/types"
	lib "modernc.org/sqlite/lib"
)

// This file asks SQLite itself what the driver does not tell: whether a statement
// reads, where it ends, and whether a transaction is open. It reads two private
// fields of the driver by reflection, which needs no unsafe; TestDriver_HasItsHandles
// pins them, and a driver without them opens no connection.

var errDriver = errors.New("this version of modernc.org/sqlite keeps its sqlite3* elsewhere; use the one that dbfx's go.mod names")

// handle returns the pointer that a value of the driver keeps in a field of this
// name, 0 where there is none.
func handle(v any, field string) uintptr {
	p := reflect.ValueOf(v)
	if p.Kind() != reflect.Pointer || p.Elem().Kind() != reflect.Struct {
		return 0
	}
	f := p.Elem().FieldByName(field)
	if !f.IsValid() || f.Kind() != reflect.Uintptr {
		return 0
	}
	return uintptr(f.Uint())
}

// autocommit reports whether no transaction is open.
func (r *realConn) autocommit() bool {
	return lib.Xsqlite3_get_autocommit(r.tls, r.db) != 0
}

// reads reports whether SQLite says that a prepared statement changes nothing in
// the database. EXPLAIN explains what would write.
func (r *realConn) reads(stmt uintptr) bool {
	return lib.Xsqlite3_stmt_readonly(r.tls, stmt) != 0 || lib.Xsqlite3_stmt_isexplain(r.tls, stmt) != 0
}

// texts is a SQL text in C's memory, whose statements are asked for one by one.
type texts struct {
	real   *realConn
	begin  uintptr
	answer uintptr // two pointers: a statement, and the rest of the text
}

func (r *realConn) texts(query string) (*texts, error) {
	begin, err := libc.CString(query)
	if err != nil {
		return nil, err
	}
	answer := libc.Xmalloc(r.tls, types.Size_t(2*pointerSize))
	if answer == 0 {
		libc.Xfree(r.tls, begin)
		return nil, errors.New("out of memory")
	}
	return &texts{real: r, begin: begin, answer: answer}, nil
}

func (t *texts) close() {
	libc.Xfree(t.real.tls, t.begin)
	libc.Xfree(t.real.tls, t.answer)
}

// next prepares the statement at an offset of the text and says where it ends and
// whether it reads. ok is false where SQLite cannot prepare it, perhaps because
// an earlier statement has not run yet.
func (t *texts) next(at int) (end int, reads, ok bool) {
	r := t.real
	rest := t.answer + pointerSize
	if lib.Xsqlite3_prepare_v2(r.tls, r.db, t.begin+uintptr(at), -1, t.answer, rest) != lib.SQLITE_OK {
		return 0, false, false
	}
	stmt := pointerAt(t.answer)
	reads = true
	if stmt != 0 { // 0 is an empty statement
		reads = r.reads(stmt)
		lib.Xsqlite3_finalize(r.tls, stmt)
	}
	return int(pointerAt(rest) - t.begin), reads, true
}

const pointerSize = bits.UintSize / 8

// pointerAt reads a pointer in C's memory.
func pointerAt(p uintptr) uintptr {
	b := libc.GoBytes(p, pointerSize)
	if pointerSize == 4 {
		return uintptr(binary.NativeEndian.Uint32(b))
	}
	return uintptr(binary.NativeEndian.Uint64(b))
}
