package status

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/dbfx/internal/sqltext"
)

// tally adds up the sessions by their names and the statements by their shapes.
type tally struct {
	mu         sync.Mutex
	sessions   map[string]*modes     // by the name: a string is found faster than a struct
	named      int                   // rows in sessions
	statements map[string]*Statement // by the shape
	texts      map[string]*Statement // by the text, for those that come again
}

// modes are the rows of one name, nil where nothing ran so.
type modes struct{ run, view *Name }

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
	return &tally{sessions: map[string]*modes{}, statements: map[string]*Statement{}, texts: map[string]*Statement{}}
}

// observer is the Page as dbfx tells it: it is made before the databases.
type observer struct {
	mu sync.Mutex // of those who add
	// tallies are replaced and never changed: every statement looks for its own, and
	// a graph has a handful of databases.
	tallies atomic.Pointer[[]named]
}

// named is the tally of a database.
type named struct {
	database string // the name given to Named
	tally    *tally
}

var _ dbfx.BracketChooser = (*observer)(nil)

func newObserver() *observer {
	o := &observer{}
	o.tallies.Store(&[]named{})
	return o
}

func (o *observer) find(database string) *tally {
	for _, n := range *o.tallies.Load() {
		if n.database == database {
			return n.tally
		}
	}
	return nil
}

// of returns the tally of a database.
func (o *observer) of(database string) *tally {
	if t := o.find(database); t != nil {
		return t
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if t := o.find(database); t != nil {
		return t
	}
	t := newTally()
	more := append(slices.Clone(*o.tallies.Load()), named{database, t})
	o.tallies.Store(&more)
	return t
}

// WantBrackets implements dbfx.BracketChooser.
func (o *observer) WantBrackets() bool { return false }

// ObserveStatement implements dbfx.Observer. Seldom does anyone wait for ROLLBACK.
func (o *observer) ObserveStatement(_ context.Context, e dbfx.StatementEvent) {
	if e.SQL == "ROLLBACK" {
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
	s := t.name(e.Name, e.ReadOnly)
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
	t.mu.Unlock()
}

// name finds or makes the row of a name.
func (t *tally) name(name string, readOnly bool) *Name {
	if s := t.sessions[name].row(readOnly); s != nil {
		return s
	}
	if t.named >= keptNames {
		name = otherName
		if s := t.sessions[name].row(readOnly); s != nil {
			return s
		}
	}
	m := t.sessions[name]
	if m == nil {
		m = &modes{}
		t.sessions[name] = m
	}
	s := &Name{Name: name, Mode: mode(readOnly)}
	if readOnly {
		m.view = s
	} else {
		m.run = s
	}
	t.named++
	return s
}

func (m *modes) row(readOnly bool) *Name {
	switch {
	case m == nil:
		return nil
	case readOnly:
		return m.view
	}
	return m.run
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
	list := make([]Name, 0, t.named)
	for _, m := range t.sessions {
		for _, s := range []*Name{m.run, m.view} {
			if s == nil {
				continue
			}
			n := *s
			n.Mean = s.total.Seconds() / float64(s.Count)
			n.MeanWait = s.wait.Seconds() / float64(s.Count)
			list = append(list, n)
		}
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
