//go:build !unix

package fxtest

import (
	"errors"
	"io"
)

// credential is a Unix matter.
type credential struct{}

// startServer is for systems with a shell and signals.
func startServer(string, ...string) (*server, error) {
	return nil, errors.New("a private server cannot be started on this system; set DBFX_TEST_POSTGRES_URL")
}

// startWatchdog is the same.
func startWatchdog(string) (io.WriteCloser, error) {
	return nil, errors.New("no watchdog on this system")
}
