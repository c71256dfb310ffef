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
	"github.com/sergas/dbkit/dbfx/migrate"
	"github.com/sergas/dbkit/example/app/requestid"
	"github.com/sergas/dbkit/example/app/store"
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
		for deadline := time.Now().Add(time.Minute); ; {
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

// TestOutbox_InstancesPassEachOthersEventsBy: an event that another instance has
// locked keeps back no other. Those that wait for each other end in a deadlock.
func TestOutbox_InstancesPassEachOthersEventsBy(t *testing.T) {
	t.Parallel()
	cfg := fxtest.Postgres(t)
	app := fxtest.New(t, fxtest.Use(cfg), migrate.Module(files("")))
	if _, err := app.DB.ExecContext(t.Context(), `insert into outbox
		select n::text, 'k', 't', '', now(), '2000-01-01' from generate_series(1, 3) n`); err != nil {
		t.Fatal(err)
	}
	instance := store.NewOutbox(app.Sessions, cfg)
	err := app.Sessions.Run(t.Context(), func(_ context.Context, tx *dbfx.Session) error {
		if _, err := tx.ExecContext(t.Context(), `select from outbox where id = '1' for update`); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		events, err := instance.Claim(ctx, 10, time.Hour)
		if err != nil || len(events) != 2 || events[0].ID != "2" || events[1].ID != "3" {
			t.Errorf("beside a locked event: got %v, %v", events, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
