// Package web is the HTTP interface.
package web

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.uber.org/zap"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/example/app/requestid"
	"github.com/sergas/dbkit/example/app/tokens"
)

// Trail reads the audit trail.
type Trail interface {
	List(ctx context.Context, tokenID string) ([]tokens.Event, error)
}

// Handler is the service's routes, to which the wiring may add.
type Handler struct{ *http.ServeMux }

// NewHandler returns the routes.
func NewHandler(s *tokens.Service, trail Trail, health *dbfx.Health, log *zap.Logger) *Handler {
	a := &api{tokens: s, trail: trail, log: log}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /tokens", a.create)
	mux.HandleFunc("GET /tokens", a.list)
	mux.HandleFunc("GET /tokens/self", a.verify)
	mux.HandleFunc("DELETE /tokens/{id}", a.revoke)
	mux.HandleFunc("GET /tokens/{id}/events", a.events)
	for _, path := range []string{"/livez", "/readyz", "/startupz", "/writez", "/healthz"} {
		mux.Handle(path, health.Handler())
	}
	return &Handler{mux}
}

type api struct {
	tokens *tokens.Service
	trail  Trail
	log    *zap.Logger
}

const (
	longestName = 100
	longestKey  = 200
	pageSize    = 50
	pageMost    = 500
)

func (a *api) create(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Name string `json:"name"`
	}
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&body); err != nil || decoder.Decode(&struct{}{}) != io.EOF {
		reply(w, http.StatusBadRequest, problem{`want a JSON object such as {"name": "ci"}`})
		return
	}
	name, key := strings.TrimSpace(body.Name), r.Header.Get("Idempotency-Key")
	if !isText(name, longestName) {
		reply(w, http.StatusBadRequest, problem{"name: want 1 to 100 characters"})
		return
	}
	if key != "" && !isText(key, longestKey) {
		reply(w, http.StatusBadRequest, problem{"Idempotency-Key: want 1 to 200 characters"})
		return
	}
	t, secret, err := a.tokens.Create(r.Context(), name, key)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	reply(w, http.StatusCreated, struct {
		tokens.Token
		Secret string `json:"token"`
	}{t, secret})
}

// isText refuses broken UTF-8 too, also where the JSON decoder has put U+FFFD in its
// place: two names that are broken differently would be one.
func isText(text string, longest int) bool {
	n := utf8.RuneCountInString(text)
	return n > 0 && n <= longest && !strings.ContainsRune(text, utf8.RuneError) && !strings.ContainsRune(text, 0)
}

func (a *api) list(w http.ResponseWriter, r *http.Request) {
	limit := pageSize
	if text := r.URL.Query().Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > pageMost {
			reply(w, http.StatusBadRequest, problem{"limit: want a number from 1 to 500"})
			return
		}
		limit = n
	}
	after := r.URL.Query().Get("after")
	if after != "" && !isText(after, longestKey) {
		reply(w, http.StatusBadRequest, problem{"after: want what next was"})
		return
	}
	list, next, err := a.tokens.List(r.Context(), after, limit)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	reply(w, http.StatusOK, struct {
		Tokens []tokens.Token `json:"tokens"`
		Next   string         `json:"next,omitempty"`
	}{list, next})
}

// verify says whose token the request carries.
func (a *api) verify(w http.ResponseWriter, r *http.Request) {
	scheme, presented, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || !isText(presented, longestKey) {
		presented = ""
	}
	t, err := a.tokens.Verify(r.Context(), presented)
	switch {
	case errors.Is(err, tokens.ErrNotFound):
		w.Header().Set("WWW-Authenticate", "Bearer")
		reply(w, http.StatusUnauthorized, problem{err.Error()})
	case err != nil:
		a.fail(w, r, err)
	default:
		reply(w, http.StatusOK, t)
	}
}

func (a *api) revoke(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	if !isText(id, longestKey) {
		a.fail(w, r, tokens.ErrNotFound)
		return
	}
	if err := a.tokens.Revoke(r.Context(), id); err != nil {
		a.fail(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (a *api) events(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	if !isText(id, longestKey) {
		a.fail(w, r, tokens.ErrNotFound)
		return
	}
	list, err := a.trail.List(r.Context(), id)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	reply(w, http.StatusOK, map[string][]tokens.Event{"events": list})
}

// statusClientGone is for the log, as nginx has it: nobody reads the answer.
const statusClientGone = 499

// problem is the body of an error.
type problem struct {
	Error string `json:"error"`
}

// fail answers err and logs what is not the client's doing.
func (a *api) fail(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case errors.Is(err, tokens.ErrNameTaken):
		reply(w, http.StatusConflict, problem{err.Error()})
		return
	case errors.Is(err, tokens.ErrKeyReused):
		reply(w, http.StatusUnprocessableEntity, problem{err.Error()})
		return
	case errors.Is(err, tokens.ErrNotFound):
		reply(w, http.StatusNotFound, problem{err.Error()})
		return
	case r.Context().Err() != nil:
		w.WriteHeader(statusClientGone)
		return
	}
	a.log.Error("request failed", zap.String("path", r.URL.Path),
		zap.String("request_id", requestid.From(r.Context())), zap.String("error", err.Error()))
	switch {
	case errors.Is(err, dbfx.ErrCommitUnknown):
		reply(w, http.StatusInternalServerError, problem{"it is not known whether this was done; ask before you try again, or send an Idempotency-Key"})
	case dbfx.IsUnavailable(err), dbfx.IsTimeout(err), dbfx.IsRetryable(err): // and nothing of it is committed
		w.Header().Set("Retry-After", "1")
		reply(w, http.StatusServiceUnavailable, problem{"busy; try again"})
	case slices.Contains([]string{"disk full", "read-only"}, dbfx.ErrorClass(err)): // nor of this; an operator must come
		w.Header().Set("Retry-After", "60")
		reply(w, http.StatusServiceUnavailable, problem{"nothing can be written now; it was not done"})
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
