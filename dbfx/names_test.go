package dbfx

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// TestProbes_ACheckMayBeCalledLikeAnotherDatabase: of two with one key both are shown.
func TestProbes_ACheckMayBeCalledLikeAnotherDatabase(t *testing.T) {
	t.Parallel()
	var list []*Database
	for name, check := range map[string]Check{
		"":         {Name: "audit:ping", Run: func(context.Context) CheckResult { return CheckResult{Status: Warn, Reason: "of its own"} }},
		"audit":    {Run: func(context.Context) CheckResult { return CheckResult{Status: Pass} }},
		"database": {Run: func(context.Context) CheckResult { return CheckResult{Status: Pass} }},
	} {
		db, err := newDatabase(name, DefaultConfig().at(t), WithCheck(check))
		if err != nil {
			t.Fatal(err)
		}
		db.assemble(db.open())
		if err := db.start(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = db.Close(context.Background()) }()
		list = append(list, db)
	}
	w := httptest.NewRecorder()
	NewProbes(list...).Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/healthz", nil))
	var body struct {
		Checks map[string][]struct{ Status, Output string }
	}
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]int{
		"database:ping": 2, // the default database's, and that of the one called "database"
		"audit:ping":    2, "audit:unnamed": 1, "database:unnamed": 1,
	} {
		if got := len(body.Checks[key]); got != want {
			t.Errorf("%s: got %d, want %d", key, got, want)
		}
	}
	if t.Failed() {
		t.Log(w.Body)
	}
}

// TestName_IsBounded: a name may come from a request after all.
func TestName_IsBounded(t *testing.T) {
	t.Parallel()
	for _, long := range []string{strings.Repeat("x", 1<<20), "x" + strings.Repeat("é", 1000), strings.Repeat("\xa9", 1000)} {
		o, err := collect([]SessionOption{Name(long)})
		if err != nil || len(o.name) > mostName+len("…") || len(o.name) < mostName-utf8.UTFMax {
			t.Errorf("%d bytes of a name are kept: %v", len(o.name), err)
		}
		if utf8.ValidString(long) != utf8.ValidString(o.name) {
			t.Errorf("cut within a letter: %q", o.name)
		}
	}
	if o, _ := collect([]SessionOption{Name(strings.Repeat("x", mostName))}); o.name != strings.Repeat("x", mostName) {
		t.Errorf("got %q", o.name)
	}
}

// TestMoments_DoNotFollowTheTimeOfDay: it may be set while sessions run. A moment
// counts from the start of the process, not from 1970.
func TestMoments_DoNotFollowTheTimeOfDay(t *testing.T) {
	t.Parallel()
	var l live
	var m meter
	s := &Sessions{meter: &m}
	now := time.Now()
	l.waiting(now)
	moments := map[string]int64{"a wait": l.waits.Load()}
	l.holding(now, 0, nil, RoleMain)
	moments["a connection"] = l.holds.Load()
	m.checkout(false, now, now, ErrCheckoutTimeout)
	moments["a timeout"], moments["no connection"] = m.runs.last.Load(), m.runs.since.Load()
	s.backAt.Store(1)
	if !s.usable() {
		t.Error("the pause is not over")
	}
	moments["replicas"] = s.backAt.Load()
	for name, at := range moments {
		if at == 0 || time.Duration(at) > 365*24*time.Hour {
			t.Errorf("%s: %s", name, time.Duration(at))
		}
	}
}
