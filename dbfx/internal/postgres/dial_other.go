//go:build !linux

package postgres

import "syscall"

// limitUnacknowledged is Linux's.
func limitUnacknowledged(int) func(network, address string, raw syscall.RawConn) error { return nil }
