//go:build !unix

package postgres

import "net"

// socket is not looked at here.
type socket struct{}

func newSocket(net.Conn) socket { return socket{} }

// known reports that pending cannot look.
func (socket) known() bool { return false }

// pending cannot look, and so asks for a ping.
func (socket) pending() bool { return true }
