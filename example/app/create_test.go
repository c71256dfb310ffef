package main

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

func TestCreate_RepeatedByItsKeyIsOneToken(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		s := startService(t, cfg)
		_, first := s.do(t, "POST", "/tokens", `{"name":"ci"}`, "Idempotency-Key", "k1")
		code, second := s.do(t, "POST", "/tokens", `{"name":"ci"}`, "Idempotency-Key", "k1")
		if code != http.StatusCreated || second["id"] != first["id"] {
			t.Fatalf("the repeat: got %d %v, want the token %v", code, second, first["id"])
		}
		// Either answer may have been lost.
		for header, want := range map[string]int{
			fmt.Sprint("Bearer ", first["token"]): http.StatusOK, fmt.Sprint("bearer ", second["token"]): http.StatusOK,
			"Bearer tok_x_y": http.StatusUnauthorized, "Bearer ": http.StatusUnauthorized, "Bearer tok__": http.StatusUnauthorized,
			fmt.Sprint(first["token"]): http.StatusUnauthorized, fmt.Sprint("Basic ", first["token"]): http.StatusUnauthorized,
			fmt.Sprint("Bearer ", first["token"], "x"): http.StatusUnauthorized, fmt.Sprintf("Bearer tok_%v_", first["id"]): http.StatusUnauthorized,
		} {
			if code, body := s.do(t, "GET", "/tokens/self", "", "Authorization", header); code != want {
				t.Errorf("verify %s: got %d %v, want %d", header, code, body, want)
			}
		}
		if code, _ := s.do(t, "POST", "/tokens", `{"name":"other"}`, "Idempotency-Key", "k1"); code != http.StatusUnprocessableEntity {
			t.Errorf("the key with another name: got %d", code)
		}
		if code, _ := s.do(t, "POST", "/tokens", `{"name":"ci"}`, "Idempotency-Key", "k2"); code != http.StatusConflict {
			t.Errorf("another key with the name: got %d", code)
		}
		// The conflict has left nothing of its key behind.
		if code, _ := s.do(t, "POST", "/tokens", `{"name":"other"}`, "Idempotency-Key", "k2"); code != http.StatusCreated {
			t.Errorf("the key whose creation failed: got %d", code)
		}
	})
}

// TestCreate_ManyAtOnceWithOneKeyAreOneToken: every secret that was told works.
func TestCreate_ManyAtOnceWithOneKeyAreOneToken(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		s := startService(t, cfg)
		const clients = 8
		answers := make([]map[string]any, clients)
		var wg sync.WaitGroup
		for i := range clients {
			wg.Go(func() {
				code, body := s.do(t, "POST", "/tokens", `{"name":"ci"}`, "Idempotency-Key", "k1")
				if code != http.StatusCreated {
					t.Errorf("got %d %v", code, body)
				}
				answers[i] = body
			})
		}
		wg.Wait()
		for _, answer := range answers {
			if answer["id"] != answers[0]["id"] {
				t.Errorf("two tokens: %v and %v", answer["id"], answers[0]["id"])
			}
			if code, _ := s.do(t, "GET", "/tokens/self", "", "Authorization", fmt.Sprint("Bearer ", answer["token"])); code != http.StatusOK {
				t.Errorf("a secret that was told does not work: %d", code)
			}
		}
		s.do(t, "DELETE", fmt.Sprint("/tokens/", answers[0]["id"]), "")
		if code, _ := s.do(t, "GET", "/tokens/self", "", "Authorization", fmt.Sprint("Bearer ", answers[1]["token"])); code != http.StatusUnauthorized {
			t.Errorf("a secret of a revoked token: %d", code)
		}
		if code, body := s.do(t, "POST", "/tokens", `{"name":"ci"}`, "Idempotency-Key", "k1"); code != http.StatusNotFound {
			t.Errorf("the key of a revoked token: got %d %v", code, body)
		}
	})
}

// TestCreate_WhenTheLineIsCutAtCommit: what the handler says about a COMMIT whose
// outcome nobody knows.
func TestCreate_WhenTheLineIsCutAtCommit(t *testing.T) {
	t.Parallel()
	for name, moment := range map[string]fxtest.Moment{"before": fxtest.BeforeCommit, "after": fxtest.AfterCommit} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg, link := fxtest.Proxy(t, fxtest.Postgres(t))
			s := startService(t, cfg)
			link.CutAtCommit(moment, "insert into tokens")
			if code, body := s.do(t, "POST", "/tokens", `{"name":"plain"}`); code != http.StatusInternalServerError || !strings.Contains(fmt.Sprint(body), "not known") {
				t.Errorf("without a key: got %d %v", code, body)
			}
			link.CutAtCommit(moment, "insert into tokens")
			code, body := s.do(t, "POST", "/tokens", `{"name":"keyed"}`, "Idempotency-Key", "k1")
			if code != http.StatusCreated {
				t.Fatalf("with a key: got %d %v", code, body)
			}
			if code, _ := s.do(t, "GET", "/tokens/self", "", "Authorization", fmt.Sprint("Bearer ", body["token"])); code != http.StatusOK {
				t.Errorf("the secret that was told does not work: %d", code)
			}
		})
	}
}

func TestCreate_WhenAnotherProgramHoldsTheDatabase(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		cfg.LockTimeout, cfg.SQLiteBusyTimeout = 100*time.Millisecond, 100*time.Millisecond
		s := startService(t, cfg)
		release := fxtest.Hold(t, cfg)
		if code, body := s.do(t, "POST", "/tokens", `{"name":"ci"}`); code == http.StatusCreated {
			t.Errorf("got %d %v", code, body)
		}
		if code, _ := s.do(t, "GET", "/tokens", ""); code != http.StatusOK {
			t.Errorf("reads wait too: %d", code)
		}
		release()
		if code, body := s.do(t, "POST", "/tokens", `{"name":"ci"}`); code != http.StatusCreated {
			t.Errorf("after it: got %d %v", code, body)
		}
	})
}

// TestCreate_WhenNothingCanBeWritten: clients are told that it was not done, reads
// are served, and readiness says why.
func TestCreate_WhenNothingCanBeWritten(t *testing.T) {
	t.Parallel()
	s := startService(t, fxtest.Postgres(t))
	readOnly := func(to string) {
		t.Helper()
		_, err := s.DB.ExecContext(t.Context(), `set transaction_read_only = off; do $$ begin
			execute format('alter database %I set default_transaction_read_only = `+to+`', current_database()); end $$`)
		if err != nil {
			t.Fatal(err)
		}
		s.Sessions.Renew()
	}
	readOnly("on")
	code, body := s.do(t, "POST", "/tokens", `{"name":"ci"}`)
	if code != http.StatusServiceUnavailable || !strings.Contains(fmt.Sprint(body), "it was not done") {
		t.Errorf("got %d %v", code, body)
	}
	if code, _ := s.do(t, "GET", "/tokens", ""); code != http.StatusOK {
		t.Errorf("reads: got %d", code)
	}
	ready := func(want string) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
			code, body := s.do(t, "GET", "/readyz", "")
			if code != http.StatusOK {
				t.Errorf("readiness: got %d %v", code, body)
			}
			if body["status"] == want {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("readiness: got %v, want %s", body, want)
			}
		}
	}
	ready("warn")
	if code, body := s.do(t, "GET", "/writez", ""); code != http.StatusServiceUnavailable {
		t.Errorf("/writez: got %d %v", code, body)
	}
	readOnly("off")
	ready("pass")
	if code, body := s.do(t, "POST", "/tokens", `{"name":"ci"}`); code != http.StatusCreated {
		t.Errorf("then: got %d %v", code, body)
	}
}
