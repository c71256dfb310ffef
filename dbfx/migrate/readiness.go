package migrate

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/sergas/dbkit/dbfx"
)

// seen is what was last known of the schema, so that readiness and the page need
// not ask.
type seen struct {
	mu      sync.Mutex
	at      time.Time
	version int64
	latest  int64
	pending []string
	changed int
}

// fresh is how long a schema that has all it needs is not asked again; one that
// waits for migrations is asked at every check.
const fresh = 10 * time.Second

func (s *seen) keep(c *catalog, st state) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at, s.version, s.latest, s.changed = time.Now(), st.version(), c.latest(), len(st.changed(c))
	s.pending = nil
	for _, m := range st.pending(c, c.latest()) {
		s.pending = append(s.pending, m.file)
	}
}

// look asks the database and keeps the answer.
func (m *Migrator) look(ctx context.Context, c *catalog) {
	ctx, cancel := context.WithTimeout(ctx, cleanup)
	defer cancel()
	if s, err := m.readState(ctx, m.db); err == nil {
		m.seen.keep(c, s)
	}
}

// Ready is the Check that makes readiness wait for the schema: pending migrations
// fail it. A schema that is ahead of the program passes, so that a program can be
// rolled back, and two versions of it can stand side by side.
func (m *Migrator) Ready(ctx context.Context) dbfx.CheckResult {
	c, err := m.source.catalog(m.cfg.Dialect())
	if err != nil {
		return dbfx.CheckResult{Status: dbfx.Fail, Reason: "the migrations cannot be read"}
	}
	m.seen.mu.Lock()
	known := !m.seen.at.IsZero()
	ask := !known || len(m.seen.pending) > 0 || time.Since(m.seen.at) > fresh
	m.seen.mu.Unlock()
	if ask {
		// A full pool must not make a busy service unready: what was known stands.
		short, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
		s, err := m.readState(short, m.db)
		cancel()
		if err == nil {
			m.seen.keep(c, s)
		} else if !known {
			reason := "the version of the schema cannot be read"
			if sqlState(err) == "42501" {
				reason += ": the role has no right to read " + m.opt.table
			}
			return dbfx.CheckResult{Status: dbfx.Fail, Reason: reason}
		}
	}
	return m.seen.result()
}

func (s *seen) result() dbfx.CheckResult {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := dbfx.CheckResult{Status: dbfx.Pass, Figures: map[string]float64{
		"version": float64(s.version), "latest": float64(s.latest), "pending": float64(len(s.pending)), "changed": float64(s.changed),
	}}
	switch {
	case len(s.pending) > 0:
		r.Status = dbfx.Fail
		r.Reason = fmt.Sprintf("%d pending migrations, the first is %s", len(s.pending), s.pending[0])
	case s.version > s.latest:
		r.Reason = fmt.Sprintf("the schema is at version %d, ahead of this program's %d", s.version, s.latest)
	}
	return r
}
