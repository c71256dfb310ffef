package postgres

import "github.com/sergas/dbkit/dbfx/internal/engine"

// script is what a text asks for beyond its rows.
type script struct {
	control error // a *engine.ControlError if it would begin or end a transaction
	undoes  int   // how many ROLLBACK TO are in it
}

// readScript reads a text by the server's rules.
func readScript(text string, rules engine.Rules) script {
	l, c := engine.NewLexer(rules, text), engine.Control{}
	for l.Next() {
		c.Token(l)
	}
	s := script{control: c.End(l)}
	s.undoes = c.Undoes()
	return s
}
