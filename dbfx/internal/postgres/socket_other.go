//go:build !unix

package postgres

import "net"

// pending cannot look here, and so asks for a ping.
func pending(net.Conn) bool { return true }
