package web

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"go.uber.org/zap"
)

// listener is an HTTP server at the address that an environment variable names.
type listener struct {
	variable string
	addr     string
	http     *http.Server
	log      *zap.Logger
	done     chan error
}

func newListener(variable, addr string, handler http.Handler, log *zap.Logger) *listener {
	faults, _ := zap.NewStdLogAt(log, zap.WarnLevel) // panics of handlers, among others; the level exists
	return &listener{variable: variable, addr: addr, log: log, done: make(chan error, 1), http: &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		// No ReadTimeout: it would end the context of a request that waits for the
		// database, as if the client had gone. Whole bounds the reading of bodies.
		IdleTimeout: 2 * time.Minute,
		ErrorLog:    faults,
	}}
}

func (l *listener) start(ctx context.Context) error {
	var config net.ListenConfig
	listening, err := config.Listen(ctx, "tcp", l.addr)
	if err != nil {
		return fmt.Errorf("%s: %w", l.variable, err)
	}
	l.addr = listening.Addr().String()
	go func() { l.done <- l.http.Serve(listening) }()
	return nil
}

// stop waits for the requests that have come, until ctx ends.
func (l *listener) stop(ctx context.Context) error {
	err := l.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, l.http.Close())
	}
	if served := <-l.done; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}
