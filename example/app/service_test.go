package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/fx"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/example/app/requestid"
	"github.com/sergas/dbkit/example/app/web"
	"github.com/sergas/dbkit/fxtest"
)

// service is the application without its server: requests are function calls, and
// tests run in parallel.
type service struct {
	*fxtest.App
	handler http.Handler
}

func startService(t *testing.T, cfg dbfx.Config, more ...fx.Option) *service {
	t.Helper()
	var handler *web.Handler
	log := zaptest.NewLogger(t, zaptest.Level(zap.WarnLevel))
	app := fxtest.Start(t, module(), fxtest.Use(cfg), fxtest.UseNamed(audit, fxtest.SQLite(t)), fx.Supply(log), fx.Populate(&handler), fx.Options(more...))
	return &service{App: app, handler: web.Logged(handler, log)}
}

// do makes a request; header is pairs of name and value.
func (s *service) do(t *testing.T, method, path, body string, header ...string) (int, map[string]any) {
	t.Helper()
	request := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	recorder := httptest.NewRecorder()
	s.handler.ServeHTTP(recorder, request)
	var decoded map[string]any
	if recorder.Body.Len() > 0 {
		if err := json.NewDecoder(recorder.Body).Decode(&decoded); err != nil {
			t.Fatal(err)
		}
	}
	return recorder.Code, decoded
}

func TestCreate_RepeatedByItsKeyIsOneToken(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		s := startService(t, cfg)
		_, first := s.do(t, "POST", "/tokens", `{"name":"ci"}`, "Idempotency-Key", "k1")
		code, second := s.do(t, "POST", "/tokens", `{"name":"ci"}`, "Idempotency-Key", "k1")
		if code != http.StatusCreated || second["id"] != first["id"] {
			t.Fatalf("the repeat: got %d %v, want the token %v", code, second, first["id"])
		}
		// The answer with the first secret counts as lost.
		for token, want := range map[any]int{first["token"]: http.StatusUnauthorized, second["token"]: http.StatusOK, "tok_x_y": http.StatusUnauthorized} {
			if code, body := s.do(t, "GET", "/tokens/self", "", "Authorization", fmt.Sprint("Bearer ", token)); code != want {
				t.Errorf("verify: got %d %v, want %d", code, body, want)
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

func TestEvents_ReachTheAuditTrailWithTheirRequest(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		s := startService(t, cfg)
		_, token := s.do(t, "POST", "/tokens", `{"name":"ci"}`, requestid.Header, "request-1")
		id := fmt.Sprint(token["id"])
		s.do(t, "DELETE", "/tokens/"+id, "", requestid.Header, "request-2")
		deadline := time.Now().Add(time.Minute)
		for {
			_, trail := s.do(t, "GET", "/tokens/"+id+"/events", "")
			events := trail["events"].([]any)
			if len(events) == 2 {
				for i, want := range []string{"created by request-1", "revoked by request-2"} {
					e := events[i].(map[string]any)
					if got := fmt.Sprintf("%s by %s", e["kind"], e["request_id"]); got != want {
						t.Errorf("event %d: got %s, want %s", i, got, want)
					}
				}
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("got %v", trail)
			}
			time.Sleep(5 * time.Millisecond)
		}
	})
}

// TestEvents_OneThatIsRefusedKeepsBackNoOther: both are claimed at once, and the
// trail has no place for one of them.
func TestEvents_OneThatIsRefusedKeepsBackNoOther(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		var trail *dbfx.Sessions
		s := startService(t, cfg, fx.Populate(fx.Annotate(&trail, fx.ParamTags(`name:"audit"`))))
		exec := func(s *dbfx.Sessions, queries ...string) {
			t.Helper()
			err := s.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
				for _, query := range queries {
					if _, err := tx.ExecContext(ctx, query); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		exec(trail, `drop table audit`, `create table audit (id text primary key, kind text check (kind <> 'bad'), token_id text, request_id text, created_at timestamp)`)
		exec(s.Sessions, `insert into outbox values ('1', 'bad', 't', '', '2026-01-01 00:00:00', '2026-01-01 00:00:00'),
			('2', 'good', 't', '', '2026-01-01 00:00:00', '2026-01-01 00:00:00')`)
		for deadline := time.Now().Add(20 * time.Second); ; {
			_, body := s.do(t, "GET", "/tokens/t/events", "")
			if len(body["events"].([]any)) == 1 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("the good event was not told")
			}
			time.Sleep(5 * time.Millisecond)
		}
	})
}

func TestList_CostsOneQueryAndShowsEachOnce(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		s := startService(t, cfg)
		for i := range 7 {
			s.do(t, "POST", "/tokens", fmt.Sprintf(`{"name":"%d"}`, i))
		}
		ran := fxtest.Statements(t, s.App)
		seen := map[string]bool{}
		after := ""
		for page := 0; page < 4; page++ {
			_, body := s.do(t, "GET", "/tokens?limit=3&after="+after, "")
			for _, row := range body["tokens"].([]any) {
				seen[fmt.Sprint(row.(map[string]any)["name"])] = true
			}
			if after, _ = body["next"].(string); after == "" {
				break
			}
			s.do(t, "POST", "/tokens", fmt.Sprintf(`{"name":"late %d"}`, page)) // disturbs no page
		}
		if len(seen) < 7 {
			t.Errorf("saw %v", seen)
		}
		if n := ran.Count("from tokens where id >"); n > 4 {
			t.Errorf("%d queries for 4 pages:\n%s", n, ran)
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
