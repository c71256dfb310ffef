package fxtest_test

import (
	"context"
	"slices"
	"syscall"
	"testing"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

// TestFailover_APromotedStandbyIsLeft: the first of two standbys becomes a primary and
// keeps its sessions. An application that asks for a standby, or for a server that only
// reads, leaves them and goes to the other one.
func TestFailover_APromotedStandbyIsLeft(t *testing.T) {
	t.Parallel()
	primary, first, cfg := pair(t)
	second := primary.Standby(t)
	second.Stop(t, syscall.SIGINT) // a slow machine would make it the choice of some
	there := cfg
	there.Port = first.Port()
	promoter := open(t, there)
	type place struct{ port, backend int }
	at := func(ctx context.Context, db dbfx.DBTX) (p place, err error) {
		return p, db.QueryRowContext(ctx, "select inet_server_port(), pg_backend_pid()").Scan(&p.port, &p.backend)
	}
	ofSession := func(app *fxtest.App) func() (place, error) {
		return func() (place, error) {
			return dbfx.ViewValue(t.Context(), app.Sessions, func(ctx context.Context, tx *dbfx.Session) (place, error) { return at(ctx, tx) })
		}
	}
	type user struct {
		attrs, how string
		app        *fxtest.App
		at         func() (place, error)
		most       int // how many may meet the promoted server: one brings the news
	}
	var before []place // connections to the first standby
	var users []user
	for _, attrs := range []string{"standby", "prefer-standby", "read-only"} {
		both := hosts(cfg, "sslmode=disable&target_session_attrs="+attrs, first.Port(), second.Port())
		bare, sessions, eager := fxtest.New(t, fxtest.Use(both)), fxtest.New(t, fxtest.Use(both)), both
		eager.DatabaseURL, eager.DatabaseReplicaURL = hosts(cfg, "sslmode=disable", primary.Port()).DatabaseURL, both.DatabaseURL
		replica := fxtest.New(t, fxtest.Use(eager))
		for _, u := range []user{
			{attrs, "bare", bare, func() (place, error) { return at(t.Context(), bare.DB) }, 1},
			{attrs, "View", sessions, ofSession(sessions), 0},
			{attrs, "View on a replica", replica, ofSession(replica), 0},
		} {
			eventually(t, u.attrs+", "+u.how+" is on the first standby", func() bool { // the primary may stand in for it
				p, err := u.at()
				if err == nil && p.port == first.Port() {
					before = append(before, p)
				}
				return len(before) > len(users)
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
			p, err := u.at()
			if err != nil {
				t.Errorf("%s, %s: %v", u.attrs, u.how, err)
			}
			if slices.Contains(before, p) {
				stayed++
			}
		}
		if stayed > u.most {
			t.Errorf("%s, %s: %d of 20 were on the promoted server", u.attrs, u.how, stayed)
		}
		eventually(t, u.attrs+", "+u.how+" is on the other standby", func() bool {
			p, err := u.at()
			if err == nil && p.port == first.Port() { // a dial took long, and the primary was taken as the next best
				u.app.Sessions.Renew()
			}
			return err == nil && p.port == second.Port()
		})
	}
}
