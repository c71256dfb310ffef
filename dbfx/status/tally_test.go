package status

import (
	"fmt"
	"testing"
	"time"

	"github.com/sergas/dbkit/dbfx"
)

func TestTally_KeepsWhatTookTheMostTime(t *testing.T) {
	t.Parallel()
	o := newObserver()
	run := func(sql string, took time.Duration) {
		o.ObserveStatement(t.Context(), dbfx.StatementEvent{SQL: sql, Duration: took})
	}
	run("select slow", time.Hour)
	run("select early", time.Nanosecond)
	for i := range 10_000 {
		run(fmt.Sprintf("select made%d", i), time.Microsecond)
	}
	tally := o.of("")
	if len(tally.statements) > keptShapes || len(tally.texts) > keptTexts {
		t.Errorf("%d shapes and %d texts are kept", len(tally.statements), len(tally.texts))
	}
	if got := tally.slowest()[0]; got.Shape != "select slow" || got.Longest != 3600 {
		t.Errorf("got %+v first, want the slow one", got)
	}

	// A row that has made room comes back as a new one.
	run("select early", 2*time.Hour)
	if got := tally.slowest()[0]; got.Shape != "select early" || got.Count != 1 {
		t.Errorf("got %+v first, want what has just run", got)
	}
}

func TestTally_ATextThatComesAgainKeepsItsRow(t *testing.T) {
	t.Parallel()
	o := newObserver()
	for i := range 3 * keptTexts {
		o.ObserveStatement(t.Context(), dbfx.StatementEvent{SQL: "select again", Duration: time.Second})
		o.ObserveStatement(t.Context(), dbfx.StatementEvent{SQL: fmt.Sprintf("select %d", i)})
	}
	got := o.of("").slowest()
	if len(got) != 2 || got[0].Count != 3*keptTexts || got[1].Count != 3*keptTexts {
		t.Errorf("got %+v, want two shapes", got)
	}
}

func TestTally_BoundsTheNamesOfSessions(t *testing.T) {
	t.Parallel()
	o := newObserver()
	for i := range 10_000 {
		o.ObserveSession(t.Context(), dbfx.SessionEvent{Name: fmt.Sprint("user ", i), Outcome: dbfx.OutcomeCommitted, Duration: time.Second})
	}
	tally := o.of("")
	if got := tally.names()[0]; tally.named > keptNames+2 || len(tally.sessions) > keptNames+1 || got.Name != otherName || got.Count < 9_000 {
		t.Errorf("%d names are kept, and the first is %+v", len(tally.sessions), got)
	}
}
