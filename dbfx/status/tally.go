package status

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/dbfx/internal/sqltext"
)

// tally adds up the sessions by their names and the statements by their shapes.
type tally struct {
	mu         sync.Mutex
	sessions   map[sessionKey]*Name
	statements map[string]*Statement // by the shape
	texts      map[string]*Statement // by the text, for those that come again
}

type sessionKey struct {
	name     string
	readOnly bool
}

// kept are how many names and shapes a tally has room for. A new shape takes the
// place of the one that has taken the least time; a new name is added to "other".
const (
	keptNames  = 200
	keptShapes = 300
	keptTexts  = 1000
	// longestText is how long a text may be to be found again without a look at it.
	longestText = 4 << 10
	otherName   = "other"
)

func newTally() *tally {
	return &tally{sessions: map[sessionKey]*Name{}, statements: map[string]*Statement{}, texts: map[string]*Statement{}}
}

// observer is the Page as dbfx tells it: it is made before the databases.
type observer struct {
	mu      sync.RWMutex
	tallies map[string]*tally // by the name given to Named
}

var _ dbfx.Observer = (*observer)(nil)

func newObserver() *observer {
	return &observer{tallies: map[string]*tally{}}
}

// of returns the tally of a database.
func (o *observer) of(database string) *tally {
	o.mu.RLock()
	t := o.tallies[database]
	o.mu.RUnlock()
	if t != nil {
		return t
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if t = o.tallies[database]; t == nil {
		t = newTally()
		o.tallies[database] = t
	}
	return t
}

// ObserveStatement implements dbfx.Observer. BEGIN rides with the first statement on
// PostgreSQL, whose time it would count twice, and no one waits for ROLLBACK.
func (o *observer) ObserveStatement(_ context.Context, e dbfx.StatementEvent) {
	if strings.HasPrefix(e.SQL, "BEGIN") || e.SQL == "ROLLBACK" {
		return
	}
	t := o.of(e.Database)
	t.mu.Lock()
	s := t.texts[e.SQL]
	if s == nil || s.dropped {
		t.mu.Unlock() // a text is read without the lock that every statement needs
		shape, name := sqltext.Shape(e.SQL), sqltext.Summary(e.SQL)
		t.mu.Lock()
		s = t.row(e.SQL, shape, name)
	}
	s.Count++
	s.total += e.Duration
	s.longest = max(s.longest, e.Duration)
	s.Rows += max(e.Rows, 0)
	if e.Err != nil {
		s.Errors++
	}
	if e.Session != "" {
		s.Session = e.Session
	}
	t.mu.Unlock()
}

// row finds or makes the row of a text that has a shape.
func (t *tally) row(sql, shape, name string) *Statement {
	s := t.statements[shape]
	if s == nil {
		if len(t.statements) >= keptShapes {
			t.dropLeast()
		}
		s = &Statement{Shape: shape, Name: name}
		t.statements[shape] = s
	}
	if len(sql) <= longestText {
		if len(t.texts) >= keptTexts {
			clear(t.texts) // those that come again come back
		}
		t.texts[sql] = s
	}
	return s
}

func (t *tally) dropLeast() {
	var least *Statement
	for _, s := range t.statements {
		if least == nil || s.total < least.total {
			least = s
		}
	}
	least.dropped = true // texts may lead to it
	delete(t.statements, least.Shape)
}

// ObserveSession implements dbfx.Observer.
func (o *observer) ObserveSession(_ context.Context, e dbfx.SessionEvent) {
	t := o.of(e.Database)
	t.mu.Lock()
	defer t.mu.Unlock()
	key := sessionKey{e.Name, e.ReadOnly}
	s := t.sessions[key]
	if s == nil {
		if len(t.sessions) >= keptNames {
			key.name = otherName
			s = t.sessions[key]
		}
		if s == nil {
			s = &Name{Name: key.name, Mode: mode(e.ReadOnly)}
			t.sessions[key] = s
		}
	}
	s.Count++
	s.total += e.Duration
	s.wait += e.Wait
	s.Longest = max(s.Longest, e.Duration.Seconds())
	s.Retries += int64(max(e.Attempts-1, 0))
	switch e.Outcome {
	case dbfx.OutcomeCommitted:
		s.Committed++
	case dbfx.OutcomeRead:
		s.Read++
	case dbfx.OutcomeUnknown:
		s.Unknown++
	default:
		s.RolledBack++
	}
	if e.Err != nil {
		s.LastError = cmp.Or(e.Class, "other")
	}
}

func mode(readOnly bool) string {
	if readOnly {
		return "view"
	}
	return "run"
}

// names are the sessions, those first that took the most time.
func (t *tally) names() []Name {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := make([]Name, 0, len(t.sessions))
	for _, s := range t.sessions {
		n := *s
		n.Mean = s.total.Seconds() / float64(s.Count)
		n.MeanWait = s.wait.Seconds() / float64(s.Count)
		list = append(list, n)
	}
	slices.SortFunc(list, func(a, b Name) int { return cmp.Or(cmp.Compare(b.total, a.total), cmp.Compare(a.Name, b.Name)) })
	return list[:min(len(list), mostNames)]
}

// slowest are the statements, those first that took the most time together.
func (t *tally) slowest() []Statement {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := make([]Statement, 0, len(t.statements))
	for _, s := range t.statements {
		c := *s
		c.Total, c.Mean, c.Longest = s.total.Seconds(), s.total.Seconds()/float64(s.Count), s.longest.Seconds()
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b Statement) int { return cmp.Or(cmp.Compare(b.total, a.total), cmp.Compare(a.Shape, b.Shape)) })
	return list[:min(len(list), mostStatements)]
}
