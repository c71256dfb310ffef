package web

import (
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/sergas/dbkit/example/app/requestid"
)

// Logged gives each request an id, and logs it.
func Logged(next http.Handler, log *zap.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		ctx, id := requestid.With(r.Context(), r.Header.Get(requestid.Header))
		w.Header().Set(requestid.Header, id)
		seen := &seenWriter{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(seen, r.WithContext(ctx))
		log.Info("request",
			zap.String("method", r.Method), zap.String("path", r.URL.Path), zap.String("request_id", id),
			zap.Int("status", seen.status), zap.Duration("duration", time.Since(start)))
	})
}

// seenWriter remembers the status.
type seenWriter struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements http.ResponseWriter.
func (w *seenWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController find the writer.
func (w *seenWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
