package engine

import "strings"

// Rules are how a database reads the text of its statements.
type Rules byte

// The rules. PostgreSQL's text has backslash escapes in every string where
// standard_conforming_strings is off.
const (
	SQLite Rules = iota
	PostgreSQL
	PostgreSQLBackslash
)

// Kind of a token.
type tokenKind byte

const (
	tokenEnd tokenKind = iota
	tokenWord
	tokenSemicolon
	tokenOpen
	tokenClose
	tokenOther // a string, a quoted name, a number, an operator
)

// Lexer cuts a text into the tokens that the database would find. It keeps what
// the questions of this package need apart: words, parentheses, semicolons, and
// what can hide them, which is strings, quoted names and comments.
type Lexer struct {
	rules Rules
	text  string
	pos   int

	kind       tokenKind
	start, end int // of the token
}

// NewLexer reads text by rules.
func NewLexer(rules Rules, text string) *Lexer { return &Lexer{rules: rules, text: text} }

// Next moves to the next token and reports whether there is one.
func (l *Lexer) Next() bool {
	for l.pos < len(l.text) {
		l.start = l.pos
		l.kind = l.token()
		if l.kind != tokenEnd {
			l.end = l.pos
			return true
		}
	}
	l.kind = tokenEnd
	return false
}

// Word returns the token if it is a word: a key word or a name without quotes.
func (l *Lexer) Word() (string, bool) {
	if l.kind != tokenWord {
		return "", false
	}
	return l.text[l.start:l.end], true
}

// Text returns the token as it stands in the text, and where it begins there.
func (l *Lexer) Text() (start int, text string) { return l.start, l.text[l.start:l.end] }

// Opens reports whether the token is an opening parenthesis.
func (l *Lexer) Opens() bool { return l.kind == tokenOpen }

// Closes reports whether the token is a closing parenthesis.
func (l *Lexer) Closes() bool { return l.kind == tokenClose }

// EndsStatement reports whether the token is a semicolon.
func (l *Lexer) EndsStatement() bool { return l.kind == tokenSemicolon }

// token reads one token, or what stands between tokens: then it is tokenEnd.
func (l *Lexer) token() tokenKind {
	c := l.text[l.pos]
	switch {
	case isLetter(c):
		if l.rules == SQLite && strings.HasPrefix(l.text[l.pos:], "\uFEFF") {
			l.pos += len("\uFEFF") // a space to SQLite; to PostgreSQL a letter
			return tokenEnd
		}
		return l.word()
	case c == ' ' || '\t' <= c && c <= '\r':
		l.pos++
		return tokenEnd
	case c == '-' && l.follows('-'):
		l.lineComment()
		return tokenEnd
	case c == '/' && l.follows('*'):
		l.blockComment()
		return tokenEnd
	}
	l.pos++
	switch c {
	case ';':
		return tokenSemicolon
	case '(':
		return tokenOpen
	case ')':
		return tokenClose
	case '\'':
		if l.rules == SQLite {
			l.quoted(c)
		} else {
			l.string(l.rules == PostgreSQLBackslash)
		}
	case '"':
		l.quoted(c)
	case '`':
		if l.rules == SQLite {
			l.quoted(c)
		}
	case '[':
		if l.rules == SQLite {
			l.until("]")
		}
	case '$', '@', '#', ':':
		if l.rules == SQLite {
			l.variable()
		} else if c == '$' {
			l.dollar()
		}
	}
	return tokenOther
}

func (l *Lexer) follows(c byte) bool { return l.pos+1 < len(l.text) && l.text[l.pos+1] == c }

// word reads a word. To PostgreSQL an E, a B or an X before a quote is a part of
// the string, and says whether it has escapes.
func (l *Lexer) word() tokenKind {
	for l.pos++; l.pos < len(l.text) && isNamePart(l.text[l.pos]); l.pos++ {
		continue
	}
	if l.rules == SQLite || l.pos != l.start+1 || l.pos == len(l.text) || l.text[l.pos] != '\'' {
		return tokenWord
	}
	switch l.text[l.start] | 0x20 {
	case 'e', 'b', 'x':
		l.pos++
		l.string(l.text[l.start]|0x20 == 'e')
		return tokenOther
	}
	return tokenWord
}

// lineComment ends at a newline, and for PostgreSQL at a carriage return too.
func (l *Lexer) lineComment() {
	ends := "\n"
	if l.rules != SQLite {
		ends = "\r\n"
	}
	if n := strings.IndexAny(l.text[l.pos:], ends); n >= 0 {
		l.pos += n
		return
	}
	l.pos = len(l.text)
}

// blockComment can hold others for PostgreSQL.
func (l *Lexer) blockComment() {
	l.pos += 2
	if l.rules == SQLite {
		l.until("*/")
		return
	}
	for depth := 1; depth > 0 && l.pos < len(l.text); {
		switch c := l.text[l.pos]; {
		case c == '*' && l.follows('/'):
			depth--
			l.pos += 2
		case c == '/' && l.follows('*'):
			depth++
			l.pos += 2
		default:
			l.pos++
		}
	}
}

// variable reads a parameter's name, which for SQLite may end in anything between
// parentheses.
func (l *Lexer) variable() {
	start := l.pos
	for ; l.pos < len(l.text); l.pos++ {
		switch c := l.text[l.pos]; {
		case isNamePart(c):
		case c == ':' && l.follows(':'):
			l.pos++
		case c == '(' && l.pos > start:
			if n := strings.IndexAny(l.text[l.pos:], ") \t\n\f\r\v"); n >= 0 && l.text[l.pos+n] == ')' {
				l.pos += n + 1
			}
			return
		default:
			return
		}
	}
}

// until goes behind the next end, or to the end of the text.
func (l *Lexer) until(end string) {
	if n := strings.Index(l.text[l.pos:], end); n >= 0 {
		l.pos += n + len(end)
		return
	}
	l.pos = len(l.text)
}

func isLetter(c byte) bool {
	return 'a' <= c|0x20 && c|0x20 <= 'z' || c == '_' || c >= 0x80
}

func isNamePart(c byte) bool { return isLetter(c) || '0' <= c && c <= '9' || c == '$' }
