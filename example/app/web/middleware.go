package web

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/sergas/dbkit/example/app/requestid"
)

const longestBody = 1 << 16

// Whole reads a request's body before next sees it: at most 64 KiB, within the
// time. A client that sends it a byte at a time then holds neither a session of
// the database nor the stop of the server.
func Whole(next http.Handler, within time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Body == nil || r.Body == http.NoBody {
			next.ServeHTTP(w, r)
			return
		}
		controller := http.NewResponseController(w)
		_ = controller.SetReadDeadline(time.Now().Add(within)) // a test's recorder has none
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, longestBody))
		if err != nil { // the deadline stays, and the connection ends
			w.Header().Set("Connection", "close")
			if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
				reply(w, http.StatusRequestEntityTooLarge, problem{"the body has more than 65536 bytes"})
				return
			}
			reply(w, http.StatusRequestTimeout, problem{"the body did not come"})
			return
		}
		_ = controller.SetReadDeadline(time.Time{})
		r.Body = io.NopCloser(bytes.NewReader(body))
		next.ServeHTTP(w, r)
	})
}

// Logged gives each request an id, and logs it, also one whose handler panics.
func Logged(next http.Handler, log *zap.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		ctx, id := requestid.With(r.Context(), r.Header.Get(requestid.Header))
		w.Header().Set(requestid.Header, id)
		seen := &seenWriter{ResponseWriter: w, status: http.StatusOK}
		returned := false
		defer func() {
			if !returned { // it panics; net/http tells how
				seen.status = http.StatusInternalServerError
			}
			log.Info("request",
				zap.String("method", r.Method), zap.String("path", r.URL.Path), zap.String("request_id", id),
				zap.Int("status", seen.status), zap.Duration("duration", time.Since(start)))
		}()
		next.ServeHTTP(seen, r.WithContext(ctx))
		returned = true
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
