//go:build unix

package postgres

import (
	"crypto/tls"
	"net"
	"syscall"
)

// pending reports whether something has come on a connection that expects
// nothing: the end of the stream, or the server's farewell.
//
// It goes through Control and not Read: pgx's background reader can hold the
// file's read lock, and a peek through Read then hung for ever.
func pending(c net.Conn) bool {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	s, ok := c.(syscall.Conn)
	if !ok {
		return true // not a socket that we know: ping
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return true
	}
	found := false
	err = raw.Control(func(fd uintptr) {
		var b [1]byte
		_, _, recvErr := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		found = recvErr != syscall.EAGAIN && recvErr != syscall.EINTR
	})
	return err != nil || found
}
