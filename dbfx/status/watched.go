package status

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/sergas/dbkit/dbfx"
)

// watched is a database that the page shows.
type watched struct {
	database *dbfx.Database
	label    string // its name on the page
	tally    *tally
	history  history

	mu      sync.Mutex
	last    dbfx.State
	since   time.Time
	asking  bool
	asked   time.Time               // when that was answered:
	blocked map[uint32]dbfx.Blocked // by the process that waits
	trouble string                  // why it is not known
}

// askTimeout bounds one question to the database: the page must not hang where
// the database does.
const askTimeout = time.Second

// sample adds a second to the history.
func (w *watched) sample(now time.Time) {
	w.history.sample(now, w.database.Sessions().Stats(), w.database.Health().Last().State == dbfx.StateDown)
}

// ask asks the database how it is and who waits for whom, one at a time, until
// the page closes.
func (w *watched) ask(closed <-chan struct{}) {
	w.mu.Lock()
	if w.asking {
		w.mu.Unlock()
		return
	}
	w.asking = true
	w.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	go func() {
		select {
		case <-closed:
			cancel()
		case <-ctx.Done():
		}
	}()
	report := w.database.Health().Check(ctx)
	var list []dbfx.Blocked
	trouble := ""
	if report.State == dbfx.StateUp || report.State == dbfx.StateSaturated {
		var err error
		if list, err = w.database.Blocking(ctx); err != nil {
			trouble = "Who waits for whom is not known: the database did not answer that question in time."
		}
	}
	blocked := make(map[uint32]dbfx.Blocked, len(list))
	for _, b := range list {
		blocked[b.Backend] = b
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asking, w.asked, w.blocked, w.trouble = false, time.Now(), blocked, trouble
}

// answerLife is how long an answer of ask is shown. Nothing is asked while no one
// looks, and the next one who does must not see who waited then.
const answerLife = 6 * time.Second

// running are the oldest sessions that run now, each with whom it waits for, and how
// many more there are.
func (w *watched) running() (list []Session, more int, trouble string) {
	running := w.database.Sessions().Running()
	w.mu.Lock()
	var blocked map[uint32]dbfx.Blocked
	if time.Since(w.asked) < answerLife {
		blocked, trouble = w.blocked, w.trouble
	}
	w.mu.Unlock()
	names := map[uint32]int{} // by backend
	list = make([]Session, 0, len(running))
	for i, r := range running[:min(len(running), mostRunning)] {
		if r.Backend != 0 && !r.Waiting {
			names[r.Backend] = i
		}
		list = append(list, Session{
			Name: r.Name, Mode: mode(r.ReadOnly), Waiting: r.Waiting, Age: time.Since(r.Since).Seconds(), Wait: r.Wait.Seconds(),
			Held: r.Held.Seconds(), Attempt: r.Attempt, Statement: r.Statement, Runs: r.StatementAge.Seconds(), Count: r.Statements,
			Rows: r.Rows, Caller: r.Caller, Role: string(r.Role), Backend: r.Backend,
		})
	}
	for i := range list {
		s := &list[i]
		if b, ok := blocked[s.Backend]; ok && !s.Waiting && s.Backend != 0 {
			s.WaitsFor = whom(b, blocked, names, list)
		}
	}
	countBehind(list, blocked, names)
	w.writeQueue(list, running)
	return list, len(running) - len(list), trouble
}

// whom names those at the head of the queue that b is in, ours by the names of their
// sessions: PostgreSQL says of one who waits behind others that they block it too.
func whom(b dbfx.Blocked, blocked map[uint32]dbfx.Blocked, names map[uint32]int, list []Session) string {
	var heads []string
	between, seen := 0, map[uint32]bool{b.Backend: true}
	for queue := []dbfx.Blocked{b}; len(queue) > 0; queue = queue[1:] {
		for _, by := range queue[0].By {
			if seen[by.Backend] {
				continue
			}
			seen[by.Backend] = true
			if next, waits := blocked[by.Backend]; waits {
				between++
				queue = append(queue, next)
				continue
			}
			one := fmt.Sprintf("process %d", by.Backend)
			if i, ok := names[by.Backend]; ok {
				one = fmt.Sprintf("%s (%s)", label(list[i].Name), one)
			} else if by.Application != "" {
				one += fmt.Sprintf(" (%s, %s for %s)", by.Application, by.State, seconds(by.Held.Seconds()))
			}
			heads = append(heads, one)
		}
	}
	switch {
	case len(heads) == 0: // a deadlock, which PostgreSQL is about to end
		return fmt.Sprintf("each other, %d sessions", between+1)
	case between > 0:
		return fmt.Sprintf("%s, behind\u00a0%d\u00a0more", strings.Join(heads, ", "), between)
	}
	return strings.Join(heads, ", ")
}

// countBehind counts for each session those that wait for it, also behind others:
// of five that update one row PostgreSQL lets the first wait for the holder, and the
// rest for the first.
func countBehind(list []Session, blocked map[uint32]dbfx.Blocked, names map[uint32]int) {
	for i := range list {
		if _, waits := blocked[list[i].Backend]; !waits || list[i].WaitsFor == "" {
			continue
		}
		seen := map[int]bool{i: true}
		for queue := []uint32{list[i].Backend}; len(queue) > 0; queue = queue[1:] {
			for _, by := range blocked[queue[0]].By {
				if j, ours := names[by.Backend]; ours && !seen[j] {
					seen[j] = true
					list[j].Blocks++
					queue = append(queue, by.Backend)
				}
			}
		}
	}
}

// writeQueue says for SQLite that those who wait to write wait for the one that
// does.
func (w *watched) writeQueue(list []Session, running []dbfx.RunningSession) {
	write := w.database.Sessions().Stats().Write
	if write == nil || write.Holder == "" {
		return
	}
	holder := -1
	for i, s := range list {
		if s.Held > 0 && !s.Waiting && s.Mode == "run" { // one without a connection is in its hooks, or between two attempts
			holder = i
			break
		}
	}
	for i := range list {
		if list[i].Waiting && list[i].Mode == "run" {
			list[i].WaitsFor = write.Holder
		}
	}
	if holder < 0 {
		return
	}
	for _, r := range running {
		if r.Waiting && !r.ReadOnly {
			list[holder].Blocks++
		}
	}
}

func label(name string) string { return cmp.Or(name, "unnamed") }
