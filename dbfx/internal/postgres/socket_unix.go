//go:build unix

package postgres

import (
	"net"
	"syscall"
)

// socket is what is below a connection; raw is nil where it is no socket that we
// know.
type socket struct{ raw syscall.RawConn }

func newSocket(c net.Conn) socket {
	if s, ok := below(c).(syscall.Conn); ok {
		if raw, err := s.SyscallConn(); err == nil {
			return socket{raw}
		}
	}
	return socket{}
}

// known reports whether pending can look.
func (s socket) known() bool { return s.raw != nil }

// pending reports whether something has come on a connection that expects
// nothing: the end of the stream, or the server's farewell.
//
// It goes through Control and not Read: pgx's background reader can hold the
// file's read lock, and a peek through Read then hung for ever.
func (s socket) pending() bool {
	if s.raw == nil {
		return true // ping
	}
	found := false
	err := s.raw.Control(func(fd uintptr) {
		var b [1]byte
		_, _, recvErr := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		found = recvErr != syscall.EAGAIN && recvErr != syscall.EINTR
	})
	return err != nil || found
}
