//go:build !unix

package fxtest

import "errors"

// credential is a Unix matter.
type credential struct{}

// startServer is for systems with a shell and signals.
func startServer(string, ...string) (*server, error) {
	return nil, errors.New("a private server cannot be started on this system; set DBFX_TEST_POSTGRES_URL")
}
