package fxtest

import (
	"strings"
	"sync"
	"testing"

	"github.com/sergas/dbkit/dbfx"
)

// Recorder keeps what ran, for tests that count statements.
type Recorder struct {
	mu     sync.Mutex
	events []dbfx.StatementEvent
}

// Statements records what the application runs from now on, on all its
// databases. It is safe for concurrent use. An application that a
// benchmark has started is not observed, and Statements fails the benchmark.
//
//	ran := fxtest.Statements(t, app)
//	_, err := store.ListOrdersWithLines(ctx)
//	if n := ran.Count("select"); n > 2 {
//		t.Errorf("%d queries for a list:\n%s", n, ran)
//	}
func Statements(tb testing.TB, app *App) *Recorder {
	tb.Helper()
	if _, bench := app.watch.tb.(*testing.B); bench {
		tb.Fatal("fxtest: Statements: a benchmark's application is not observed")
	}
	r := &Recorder{}
	app.watch.mu.Lock()
	defer app.watch.mu.Unlock()
	app.watch.recorders = append(app.watch.recorders, r)
	return r
}

func (r *Recorder) add(e dbfx.StatementEvent) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

// Reset forgets what ran.
func (r *Recorder) Reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = nil
}

// Events returns every statement in the order of their ends, BEGIN and COMMIT
// included. A query ends when its rows are closed.
func (r *Recorder) Events() []dbfx.StatementEvent {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]dbfx.StatementEvent(nil), r.events...)
}

// SQL returns the texts without those that begin and end transactions and
// savepoints.
func (r *Recorder) SQL() []string {
	var texts []string
	for _, e := range r.Events() {
		word, _, _ := strings.Cut(strings.ToUpper(strings.TrimSpace(e.SQL)), " ")
		switch strings.TrimRight(word, ";") {
		case "BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE":
		default:
			texts = append(texts, e.SQL)
		}
	}
	return texts
}

// Count counts the texts of SQL that contain part, in any case; "" counts all.
func (r *Recorder) Count(part string) int {
	n := 0
	for _, text := range r.SQL() {
		if strings.Contains(strings.ToLower(text), strings.ToLower(part)) {
			n++
		}
	}
	return n
}

// String returns SQL, a line each.
func (r *Recorder) String() string { return strings.Join(r.SQL(), "\n") }
