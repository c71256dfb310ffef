package main

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"go.uber.org/zap"

	"github.com/sergas/dbkit/dbfx"
)

// newHandler is the service's HTTP interface.
func newHandler(s *store, health *dbfx.Health, log *zap.Logger) http.Handler {
	a := &api{store: s, log: log}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /tokens", a.create)
	mux.HandleFunc("GET /tokens", a.list)
	mux.HandleFunc("DELETE /tokens/{id}", a.revoke)
	for _, path := range []string{"/livez", "/readyz", "/startupz", "/healthz"} {
		mux.Handle(path, health.Handler())
	}
	return logged(mux, log)
}

type api struct {
	store *store
	log   *zap.Logger
}

const (
	longestBody = 1 << 16
	longestName = 100
)

func (a *api) create(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Name string `json:"name"`
	}
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, longestBody))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&body); err != nil {
		reply(w, http.StatusBadRequest, problem{`want a JSON object such as {"name": "ci"}`})
		return
	}
	name := strings.TrimSpace(body.Name)
	if n := utf8.RuneCountInString(name); n == 0 || n > longestName || strings.ContainsRune(name, 0) {
		reply(w, http.StatusBadRequest, problem{"name: want 1 to 100 characters"})
		return
	}
	t, secret, err := a.store.create(r.Context(), name)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	reply(w, http.StatusCreated, struct {
		token
		Token string `json:"token"`
	}{t, secret})
}

func (a *api) list(w http.ResponseWriter, r *http.Request) {
	list, err := a.store.list(r.Context())
	if err != nil {
		a.fail(w, r, err)
		return
	}
	reply(w, http.StatusOK, map[string][]token{"tokens": list})
}

func (a *api) revoke(w http.ResponseWriter, r *http.Request) {
	if err := a.store.revoke(r.Context(), r.PathValue("id")); err != nil {
		a.fail(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// problem is the body of an error.
type problem struct {
	Error string `json:"error"`
}

// fail answers err and logs what is not the client's doing.
func (a *api) fail(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case errors.Is(err, errNameTaken):
		reply(w, http.StatusConflict, problem{err.Error()})
		return
	case errors.Is(err, errNotFound):
		reply(w, http.StatusNotFound, problem{err.Error()})
		return
	case r.Context().Err() != nil:
		return // the client has gone
	}
	a.log.Error("request failed", zap.String("path", r.URL.Path), zap.String("error", err.Error()))
	switch {
	case errors.Is(err, dbfx.ErrCommitUnknown):
		reply(w, http.StatusInternalServerError, problem{"it is not known whether this was done; list the tokens before you try again"})
	case dbfx.IsUnavailable(err), dbfx.IsTimeout(err), dbfx.IsRetryable(err):
		w.Header().Set("Retry-After", "1")
		reply(w, http.StatusServiceUnavailable, problem{"busy; try again"})
	default:
		reply(w, http.StatusInternalServerError, problem{"internal error"})
	}
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client may have gone
}

// logged logs each request.
func logged(next http.Handler, log *zap.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		seen := &seenWriter{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(seen, r)
		log.Info("request",
			zap.String("method", r.Method), zap.String("path", r.URL.Path),
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
