package web

import (
	"context"
	"fmt"
	"os"
	"time"

	"go.uber.org/fx"
	"go.uber.org/zap"

	"github.com/sergas/dbkit/dbfx"
)

// Server is the HTTP server for clients. It starts after the database and stops
// before it.
type Server struct {
	*listener
	health *dbfx.Health
	delay  time.Duration
}

// DefaultAddr is where the server listens unless HTTP_ADDR says otherwise.
const DefaultAddr = "127.0.0.1:8080"

// bodyTime is how long a client may take to send a body.
const bodyTime = 10 * time.Second

// NewServer reads HTTP_ADDR and HTTP_DRAIN_DELAY: how
// long the server goes on after /readyz has begun to fail, so that a load
// balancer can take it out; 0 by default.
func NewServer(lc fx.Lifecycle, handler *Handler, health *dbfx.Health, log *zap.Logger) (*Server, error) {
	addr := os.Getenv("HTTP_ADDR")
	if addr == "" {
		addr = DefaultAddr
	}
	s := &Server{listener: newListener("HTTP_ADDR", addr, Logged(Whole(handler, bodyTime), log), log), health: health}
	if text := os.Getenv("HTTP_DRAIN_DELAY"); text != "" {
		delay, err := time.ParseDuration(text)
		if err != nil || delay < 0 {
			return nil, fmt.Errorf("HTTP_DRAIN_DELAY: want a duration such as 5s, got %q", text)
		}
		s.delay = delay
	}
	lc.Append(fx.StartStopHook(s.start, s.stop))
	return s, nil
}

func (s *Server) start(ctx context.Context) error {
	if err := s.listener.start(ctx); err != nil {
		return err
	}
	s.log.Info("serving", zap.String("addr", s.addr))
	return nil
}

// stop lets the requests that have come finish. It leaves a third of the time
// to the database, whose hook shares ctx.
func (s *Server) stop(ctx context.Context) error {
	s.health.Stopping()
	s.http.SetKeepAlivesEnabled(false)
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)*2/3)
		defer cancel()
	}
	timer := time.NewTimer(s.delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return s.listener.stop(ctx)
}

// Addr is where the server listens, once it has started.
func (s *Server) Addr() string { return s.addr }
