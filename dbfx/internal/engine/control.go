package engine

import (
	"errors"
	"fmt"
	"strings"
)

// ErrControl is the answer to COMMIT and its like inside a session.
var ErrControl = errors.New("a session's transaction is begun and ended by Run and View alone")

// ControlError is a text that would begin or end a transaction. It matches
// ErrControl.
type ControlError struct {
	Word string // the statement's first word, in capitals
	Line int    // where the statement begins
}

// Error implements error.
func (e *ControlError) Error() string {
	return fmt.Sprintf("%s in line %d: %s", e.Word, e.Line, ErrControl)
}

// Is makes errors.Is find ErrControl.
func (e *ControlError) Is(target error) bool { return target == ErrControl }

// CheckControl returns a *ControlError for a text that would begin or end the
// transaction it runs in. SAVEPOINT, RELEASE and ROLLBACK TO are the user's own.
func (r Rules) CheckControl(text string) error {
	l, c := NewLexer(r, text), Control{}
	for l.Next() {
		c.Token(l)
	}
	return c.End(l)
}

// headLength is how many words decide what a statement is: CREATE OR REPLACE
// FUNCTION.
const headLength = 4

// Control finds, in the tokens of a text, the statements that begin or end a
// transaction. Its zero value is at the start of a text.
//
// The body of a function, BEGIN ATOMIC … END, and of a trigger, BEGIN … END, is a
// part of its statement. Where a text breaks the grammar this may err, which does
// no harm: PostgreSQL then runs nothing of it, and SQLite nothing from there on.
type Control struct {
	head    [headLength]string
	words   int  // of head
	closed  bool // the head has ended
	at      int  // where the statement begins
	begin   bool // the last token was BEGIN
	parens  int
	bodies  int // that the token stands in
	undoes  int
	control *ControlError
}

// Undoes counts the ROLLBACK TO.
func (c *Control) Undoes() int { return c.undoes }

// Head returns the first words of the statement so far, "" where it has fewer.
func (c *Control) Head() *[headLength]string { return &c.head }

// Token takes the lexer's next token.
func (c *Control) Token(l *Lexer) {
	begin := c.begin
	c.begin = false
	switch l.kind {
	case tokenSemicolon:
		if c.parens == 0 { // those of CREATE RULE … DO (…; …) end nothing
			c.finish(l)
		}
		return
	case tokenOpen:
		c.parens++
	case tokenClose:
		c.parens = max(c.parens-1, 0)
	case tokenWord:
		if c.word(l, begin) {
			return
		}
	}
	c.closed = true
	if c.words == 0 {
		c.at = l.start
	}
}

// word takes a word. It reports whether the head may go on behind it.
func (c *Control) word(l *Lexer, begin bool) bool {
	word := l.text[l.start:l.end]
	switch {
	case c.bodies > 0 && c.words == 0 && !c.closed && IsWord(word, "END"):
		c.bodies--
		return false
	case c.parens == 0 && c.opensBody(l.rules, word, begin):
		c.bodies++
		c.next()
		return true
	}
	c.begin = IsWord(word, "BEGIN")
	if c.closed || c.words == headLength {
		return false
	}
	if c.words == 0 {
		c.at = l.start
	}
	c.head[c.words] = word
	c.words++
	return true
}

// opensBody reports whether word begins the body of a routine.
func (c *Control) opensBody(r Rules, word string, begin bool) bool {
	switch {
	case r == SQLite && !IsWord(word, "BEGIN"), r != SQLite && (!begin || !IsWord(word, "ATOMIC")):
		return false
	case !IsWord(c.head[0], "CREATE"):
		return false
	}
	kind := c.head[1]
	if r == SQLite {
		if IsWord(kind, "TEMP") || IsWord(kind, "TEMPORARY") {
			kind = c.head[2]
		}
		return IsWord(kind, "TRIGGER")
	}
	if IsWord(kind, "OR") {
		kind = c.head[3]
	}
	return IsWord(kind, "FUNCTION") || IsWord(kind, "PROCEDURE")
}

// End takes the end of the text.
func (c *Control) End(l *Lexer) error {
	c.finish(l)
	if c.control == nil {
		return nil
	}
	return c.control
}

// finish judges the statement that ends.
func (c *Control) finish(l *Lexer) {
	if c.words > 0 && c.bodies == 0 {
		ends, undoes := c.judge()
		if undoes {
			c.undoes++
		}
		if ends && c.control == nil {
			c.control = &ControlError{Word: strings.ToUpper(c.head[0]), Line: 1 + strings.Count(l.text[:c.at], "\n")}
		}
	}
	c.next()
}

func (c *Control) next() {
	c.head, c.words, c.closed, c.begin = [headLength]string{}, 0, false, false
}

// judge says whether the statement begins or ends a transaction, or goes back to
// a savepoint.
func (c *Control) judge() (control, undoes bool) {
	switch first, second := c.head[0], c.head[1]; {
	case IsWord(first, "BEGIN"), IsWord(first, "START"), IsWord(first, "COMMIT"), IsWord(first, "END"), IsWord(first, "ABORT"):
		return true, false
	case IsWord(first, "PREPARE"):
		return IsWord(second, "TRANSACTION"), false
	case IsWord(first, "ROLLBACK"):
		if IsWord(second, "WORK") || IsWord(second, "TRANSACTION") {
			second = c.head[2]
		}
		undoes = IsWord(second, "TO")
		return !undoes, undoes
	}
	return false, false
}

// IsWord compares as the databases do: key words are ASCII in any case.
func IsWord(word, capitals string) bool {
	if len(word) != len(capitals) {
		return false
	}
	for i := range len(word) {
		c := word[i]
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		if c != capitals[i] {
			return false
		}
	}
	return true
}
