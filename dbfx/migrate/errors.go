package migrate

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/sergas/dbkit/dbfx/internal/engine"
)

// What the methods of a Migrator return beside *Error.
var (
	// ErrPending: migrations have not been applied, and the mode is Check.
	ErrPending = errors.New("dbfx: migrate: migrations are pending")
	// ErrProduction: going down is refused where ENV is production.
	ErrProduction = errors.New("dbfx: migrate: refused where ENV is production")
	// ErrOutOfOrder: a migration is older than one that was applied.
	ErrOutOfOrder = errors.New("dbfx: migrate: out of order")
	// ErrUnknownVersion: no migration has this version.
	ErrUnknownVersion = errors.New("dbfx: migrate: no such version")
)

// Error is a migration that failed. What it had done in its transaction is
// rolled back, unless the error is dbfx.ErrCommitUnknown: then the next start finds
// it applied or pending, and is right in both cases. Those before it stay applied.
type Error struct {
	File      string // as it is called in the file system
	Line      int    // of the statement or of the fault in it; 0 if there is none
	Statement string // as the file has it, cut short, passwords masked
	Code      string // "SQLSTATE 42P01", "SQLite 1", or ""
	Up        bool
	Err       error
}

// Error implements error.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("dbfx: migrate: " + e.File)
	if e.Line > 0 {
		b.WriteString(":" + strconv.Itoa(e.Line))
	}
	if !e.Up {
		b.WriteString(" (down)")
	}
	text := e.Err.Error()
	b.WriteString(": " + text)
	if e.Code != "" && !strings.Contains(text, e.Code) {
		b.WriteString(" (" + e.Code + ")")
	}
	if e.Statement != "" {
		fmt.Fprintf(&b, "; in: %s", e.Statement)
	}
	return b.String()
}

// Unwrap returns the database's error.
func (e *Error) Unwrap() error { return e.Err }

// codeOf names the class of an error as its engine does.
func codeOf(err error) string {
	if state := sqlState(err); state != "" {
		return "SQLSTATE " + state
	}
	var lite interface{ Code() int }
	if errors.As(err, &lite) {
		return "SQLite " + strconv.Itoa(lite.Code())
	}
	return ""
}

// sqlState returns PostgreSQL's five characters, "" if there are none.
func sqlState(err error) string {
	var pg interface{ SQLState() string }
	if errors.As(err, &pg) {
		return pg.SQLState()
	}
	return ""
}

// shorten makes one line of a statement, at most 120 characters long, which ends
// before a password.
func shorten(rules engine.Rules, text string) string {
	tokens := code(rules, text)
	for i := 1; i < len(tokens); i++ {
		if tokens[i].kind == literal && tokens[i-1].is("password") {
			var words []string
			for _, t := range tokens[:i] {
				words = append(words, t.text)
			}
			text = strings.Join(words, " ") + " ***"
			break
		}
	}
	line := strings.Join(strings.Fields(text), " ")
	if runes := []rune(line); len(runes) > 120 {
		line = string(runes[:119]) + "…"
	}
	return line
}
