package postgres

import (
	"strings"

	"github.com/sergas/dbkit/dbfx/internal/engine"
)

// script is what a text asks for beyond its rows.
type script struct {
	control error // a *engine.ControlError if it would begin or end a transaction
	undoes  int   // how many ROLLBACK TO are in it
	leaves  bool  // something outlives the transaction on its connection, such as SET
}

// readScript reads a text by the server's rules. It costs 5 ns a byte.
func readScript(text string, rules engine.Rules) script {
	l, c, left := engine.NewLexer(rules, text), engine.Control{}, leavings{}
	for l.Next() {
		if l.EndsStatement() {
			left.statement(c.Head())
		} else {
			left.token(l)
		}
		c.Token(l)
	}
	left.statement(c.Head())
	return script{control: c.End(l), undoes: c.Undoes(), leaves: left.found}
}

// leavings finds what a text leaves on its connection when its transaction is
// over: settings, LISTEN, temporary objects, cursors WITH HOLD and advisory locks.
// What a function does inside, the text does not say.
type leavings struct {
	found bool

	before, last string // the two words before, where they stand together
	depth        int
	config       int  // the depth of set_config's arguments, 0 outside
	temporary    bool // the statement makes a temporary object
	dropped      bool // ON COMMIT DROP
}

// token takes the next token of a statement.
func (s *leavings) token(l *engine.Lexer) {
	word, ok := l.Word()
	switch {
	case ok:
		s.word(word)
	case l.Opens():
		s.depth++
		if engine.IsWord(s.last, "SET_CONFIG") {
			s.config = s.depth
		}
	case l.Closes():
		if s.config == s.depth && s.config > 0 {
			s.found = s.found || !engine.IsWord(s.last, "TRUE") // for the transaction alone
			s.config = 0
		}
		s.depth = max(s.depth-1, 0)
	}
	s.before, s.last = s.last, word
}

func (s *leavings) word(word string) {
	switch {
	case engine.IsWord(word, "TEMP"), engine.IsWord(word, "TEMPORARY"):
		for _, maker := range []string{"CREATE", "REPLACE", "LOCAL", "GLOBAL", "INTO"} {
			s.temporary = s.temporary || engine.IsWord(s.last, maker)
		}
	case engine.IsWord(word, "PG_TEMP"):
		s.temporary = true
	case engine.IsWord(word, "DROP"):
		s.dropped = s.dropped || engine.IsWord(s.before, "ON") && engine.IsWord(s.last, "COMMIT")
	case engine.IsWord(word, "HOLD"):
		s.found = s.found || engine.IsWord(s.last, "WITH")
	case len(word) >= len("pg_advisory_lock") && word[2] == '_':
		name := strings.ToLower(word)
		s.found = s.found || strings.HasPrefix(name, "pg_advisory_lock") || strings.HasPrefix(name, "pg_try_advisory_lock")
	}
}

// statement takes the end of a statement with these first words.
func (s *leavings) statement(head *[4]string) {
	switch second := head[1]; {
	case engine.IsWord(head[0], "SET"):
		s.found = s.found || !engine.IsWord(second, "LOCAL") && !engine.IsWord(second, "TRANSACTION") && !engine.IsWord(second, "CONSTRAINTS")
	case engine.IsWord(head[0], "LISTEN"):
		s.found = true
	}
	s.found = s.found || s.temporary && !s.dropped
	*s = leavings{found: s.found}
}
