//go:build !linux

package postgres

import "syscall"

// limitUnacknowledged is Linux's.
func limitUnacknowledged(_, _ string, _ syscall.RawConn) error { return nil }
