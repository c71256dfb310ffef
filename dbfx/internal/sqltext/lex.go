package sqltext

import "strings"

// kind is what a token is.
type kind int

const (
	word    kind = iota // a keyword or a name, quoted or not
	literal             // a text or a number
	param               // $1, ?, :name, @name
	punct
	comment
	end
)

type token struct {
	kind kind
	text string
}

// lexer reads the tokens that PostgreSQL and SQLite have in common. It never
// fails: a text that does not end is a literal up to the end of the query.
type lexer struct{ rest string }

func (l *lexer) take(k kind, n int) token {
	t := token{k, l.rest[:n]}
	l.rest = l.rest[n:]
	return t
}

// next returns the next token, after the spaces.
func (l *lexer) next() token {
	l.rest = strings.TrimLeft(l.rest, " \t\r\n\f\v\uFEFF")
	s := l.rest
	if s == "" {
		return token{kind: end}
	}
	c := s[0]
	switch {
	case strings.HasPrefix(s, "--"):
		n := strings.IndexAny(s, "\r\n")
		if n < 0 {
			n = len(s)
		}
		return l.take(comment, n)
	case strings.HasPrefix(s, "/*"):
		return l.take(comment, blockComment(s))
	case c == '\'':
		return l.take(literal, quoted(s, 0, '\'', false))
	case c == '"' || c == '`':
		return l.take(word, quoted(s, 0, c, false))
	case c == '$':
		return l.dollar()
	case isDigit(c) || c == '.' && len(s) > 1 && isDigit(s[1]):
		return l.take(literal, number(s))
	case c == '?':
		return l.take(param, 1+run(s[1:], isDigit))
	case (c == ':' || c == '@') && len(s) > 1 && isName(s[1]) && !isDigit(s[1]):
		return l.take(param, 1+run(s[1:], isName))
	case c == ':' && strings.HasPrefix(s, "::"):
		return l.take(punct, 2)
	case isName(c):
		return l.name()
	}
	return l.take(punct, 1)
}

// name reads a word, or the text that its first letters announce: E'…', X'…',
// U&'…'.
func (l *lexer) name() token {
	s := l.rest
	n := run(s, isName)
	switch first := strings.ToUpper(s[:n]); {
	case n == 1 && len(s) > 1 && s[1] == '\'' && strings.Contains("EBXN", first):
		return l.take(literal, quoted(s, 1, '\'', first == "E"))
	case first == "U" && strings.HasPrefix(s[1:], "&'"):
		return l.take(literal, quoted(s, 2, '\'', false))
	case first == "U" && strings.HasPrefix(s[1:], `&"`):
		return l.take(word, quoted(s, 2, '"', false))
	}
	return l.take(word, n)
}

// dollar reads $1, or a text between two $tag$.
func (l *lexer) dollar() token {
	s := l.rest
	if n := run(s[1:], isDigit); n > 0 {
		return l.take(param, 1+n)
	}
	n := 1 + run(s[1:], isName)
	if n < len(s) && s[n] == '$' {
		tag := s[:n+1]
		if close := strings.Index(s[n+1:], tag); close >= 0 {
			return l.take(literal, n+1+close+len(tag))
		}
		return l.take(literal, len(s))
	}
	if n > 1 { // SQLite's $name
		return l.take(param, n)
	}
	return l.take(punct, 1)
}

// quoted returns the length of a quoted text whose quote stands at from.
func quoted(s string, from int, quote byte, backslash bool) int {
	for i := from + 1; i < len(s); i++ {
		switch {
		case backslash && s[i] == '\\':
			i++
		case s[i] != quote:
		case i+1 < len(s) && s[i+1] == quote:
			i++
		default:
			return i + 1
		}
	}
	return len(s)
}

// blockComment returns the length of a comment, which may hold others.
func blockComment(s string) int {
	depth := 0
	for i := 0; i+1 < len(s); {
		switch s[i : i+2] {
		case "/*":
			depth++
			i += 2
		case "*/":
			depth--
			i += 2
			if depth == 0 {
				return i
			}
		default:
			i++
		}
	}
	return len(s)
}

// number returns the length of 12, 1.5e-3, 0xFF, 1_000 or .5.
func number(s string) int {
	n := 0
	for n < len(s) {
		c := s[n]
		sign := (c == '+' || c == '-') && n > 0 && (s[n-1] == 'e' || s[n-1] == 'E') && !strings.HasPrefix(s, "0x")
		if !isName(c) && c != '.' && !sign {
			break
		}
		n++
	}
	return n
}

// run counts the bytes at the beginning of s that ok accepts.
func run(s string, ok func(byte) bool) int {
	n := 0
	for n < len(s) && ok(s[n]) {
		n++
	}
	return n
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isName(c byte) bool {
	return c == '_' || c >= 0x80 || isDigit(c) || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}
