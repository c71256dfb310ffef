package postgres

import "syscall"

// tcpUserTimeout is TCP_USER_TIMEOUT of tcp(7), which package syscall lacks.
const tcpUserTimeout = 0x12

// limitUnacknowledged ends a connection whose data no one acknowledges; the
// kernel alone tries for about 15 minutes.
func limitUnacknowledged(milliseconds int) func(network, address string, raw syscall.RawConn) error {
	return func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) {
			// A socket that is not TCP has no such option, and needs none.
			_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, milliseconds)
		})
	}
}
