package fxtest_test

import (
	"context"
	"syscall"
	"testing"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

// TestFailover_APromotedStandbyIsLeft: the first of two standbys becomes a primary and
// keeps its sessions. Who asks for a standby, or for a server that only reads, goes to the
// other one.
func TestFailover_APromotedStandbyIsLeft(t *testing.T) {
	t.Parallel()
	primary, first, cfg := pair(t)
	second := primary.Standby(t)
	second.Stop(t, syscall.SIGINT) // a slow machine would make it the choice of some
	there := cfg
	there.Port = first.Port()
	promoter := open(t, there)
	port := func(ctx context.Context, db dbfx.DBTX) (port int, err error) {
		return port, db.QueryRowContext(ctx, "select inet_server_port()").Scan(&port)
	}
	ofSession := func(app *fxtest.App) func() (int, error) {
		return func() (int, error) {
			return dbfx.ViewValue(t.Context(), app.Sessions, func(ctx context.Context, tx *dbfx.Session) (int, error) { return port(ctx, tx) })
		}
	}
	type user struct {
		attrs, how string
		port       func() (int, error)
		most       int // how many may meet the promoted server: one brings the news
	}
	var users []user
	for _, attrs := range []string{"standby", "prefer-standby", "read-only"} {
		both := hosts(cfg, "sslmode=disable&target_session_attrs="+attrs, first.Port(), second.Port())
		bare, sessions, eager := fxtest.New(t, fxtest.Use(both)), fxtest.New(t, fxtest.Use(both)), both
		eager.DatabaseURL, eager.DatabaseReplicaURL = hosts(cfg, "sslmode=disable", primary.Port()).DatabaseURL, both.DatabaseURL
		replica := fxtest.New(t, fxtest.Use(eager))
		for _, u := range []user{
			{attrs, "bare", func() (int, error) { return port(t.Context(), bare.DB) }, 1},
			{attrs, "View", ofSession(sessions), 0},
			{attrs, "View on a replica", ofSession(replica), 0},
		} {
			eventually(t, u.attrs+", "+u.how+" is on the first standby", func() bool { // the primary may stand in for it
				at, err := u.port()
				return err == nil && at == first.Port()
			})
			users = append(users, u)
		}
	}
	second.Start(t)
	if _, err := promoter.DB().ExecContext(t.Context(), "select pg_promote()"); err != nil {
		t.Fatal(err)
	}
	for _, u := range users {
		stayed := 0
		for range 20 {
			at, err := u.port()
			if err != nil {
				t.Errorf("%s, %s: %v", u.attrs, u.how, err)
			}
			if at == first.Port() {
				stayed++
			}
		}
		if stayed > u.most {
			t.Errorf("%s, %s: %d of 20 were on the promoted server", u.attrs, u.how, stayed)
		}
		eventually(t, u.attrs+", "+u.how+" is on the other standby", func() bool {
			at, err := u.port()
			return err == nil && at == second.Port()
		})
	}
}
