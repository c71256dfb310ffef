package migrate

import "strings"

// tokenKind says what a token of SQL is.
type tokenKind byte

const (
	word       tokenKind = 'w' // a keyword, a name or a number; its text is in lower case
	quotedName tokenKind = 'q' // a name in quotes; its text is without them
	literal    tokenKind = 's' // a text in quotes, dollars too
	comment    tokenKind = 'c'
	symbol     tokenKind = 'p' // one character
)

// token is a piece of SQL, and the line on which it begins, counted from 0.
type token struct {
	kind tokenKind
	text string
	line int
}

// is reports whether the token is this keyword or symbol.
func (t token) is(text string) bool {
	return (t.kind == word || t.kind == symbol) && t.text == text
}

// isName reports whether the token can name something.
func (t token) isName() bool { return t.kind == word || t.kind == quotedName }

// lexer cuts SQL of both engines into tokens. It never fails: what is not closed
// goes on to the end, and the database will say so.
type lexer struct {
	text string
	at   int
	line int
	out  []token
}

// lex returns the tokens of text, comments among them.
func lex(text string) []token {
	l := &lexer{text: text}
	for l.at < len(l.text) {
		l.next()
	}
	return l.out
}

// code returns the tokens of text without its comments.
func code(text string) []token {
	var list []token
	for _, t := range lex(text) {
		if t.kind != comment {
			list = append(list, t)
		}
	}
	return list
}

func (l *lexer) next() {
	rest := l.text[l.at:]
	c := rest[0]
	switch {
	case c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\f':
		l.take(1, 0, "")
	case strings.HasPrefix(rest, "--"):
		end := strings.IndexByte(rest, '\n')
		if end < 0 {
			end = len(rest)
		}
		l.take(end, comment, strings.TrimRight(rest[:end], "\r"))
	case strings.HasPrefix(rest, "/*"):
		n := blockComment(rest)
		l.take(n, comment, rest[:n])
	case c == '\'':
		l.quoted(rest, 0, '\'', literal, false)
	case (c == 'e' || c == 'E') && len(rest) > 1 && rest[1] == '\'':
		l.quoted(rest, 1, '\'', literal, true)
	case c == '"':
		l.quoted(rest, 0, '"', quotedName, false)
	case c == '`':
		l.quoted(rest, 0, '`', quotedName, false)
	case c == '[' && strings.IndexByte(rest, ']') > 1 && isWordByte(rest[1]) && (rest[1] < '0' || rest[1] > '9'):
		// SQLite's name in brackets; an array's index begins with a number.
		end := strings.IndexByte(rest, ']')
		l.take(end+1, quotedName, rest[1:end])
	case c == '$' && dollarTag(rest) > 0:
		l.dollar(rest)
	case isWordByte(c):
		n := 1
		for n < len(rest) && isWordByte(rest[n]) {
			n++
		}
		l.take(n, word, strings.ToLower(rest[:n]))
	default:
		l.take(1, symbol, rest[:1])
	}
}

// take moves on by n bytes and keeps a token, unless its kind is 0.
func (l *lexer) take(n int, kind tokenKind, text string) {
	if kind != 0 {
		l.out = append(l.out, token{kind, text, l.line})
	}
	l.line += strings.Count(l.text[l.at:l.at+n], "\n")
	l.at += n
}

// quoted takes what stands between quotes, which are doubled inside.
func (l *lexer) quoted(rest string, skip int, quote byte, kind tokenKind, backslash bool) {
	i := skip + 1
	for i < len(rest) {
		switch {
		case backslash && rest[i] == '\\':
			i++
		case rest[i] == quote && i+1 < len(rest) && rest[i+1] == quote:
			i++
		case rest[i] == quote:
			double := string([]byte{quote, quote})
			l.take(i+1, kind, strings.ReplaceAll(rest[skip+1:i], double, string(quote)))
			return
		}
		i++
	}
	l.take(len(rest), kind, rest[skip+1:])
}

// dollar takes a text between $tag$ and $tag$.
func (l *lexer) dollar(rest string) {
	n := dollarTag(rest)
	tag := rest[:n]
	end := strings.Index(rest[n:], tag)
	if end < 0 {
		l.take(len(rest), literal, rest[n:])
		return
	}
	l.take(n+end+n, literal, rest[n:n+end])
}

// dollarTag returns the length of the $tag$ with which text begins, 0 if it does not.
func dollarTag(text string) int {
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == '$':
			return i + 1
		case !isWordByte(c) || i == 1 && c >= '0' && c <= '9':
			return 0
		}
	}
	return 0
}

// blockComment returns the length of the comment with which text begins;
// PostgreSQL nests them.
func blockComment(text string) int {
	depth := 0
	for i := 0; i+1 < len(text); i++ {
		switch text[i : i+2] {
		case "/*":
			depth++
			i++
		case "*/":
			depth--
			i++
		}
		if depth == 0 {
			return i + 1
		}
	}
	return len(text)
}

func isWordByte(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}

// follows reports whether tokens has these words one after the other anywhere.
func follows(tokens []token, words ...string) bool {
	for i := range tokens {
		if begins(tokens[i:], words...) {
			return true
		}
	}
	return false
}

// begins reports whether tokens begins with these words.
func begins(tokens []token, words ...string) bool {
	if len(tokens) < len(words) {
		return false
	}
	for i, w := range words {
		if !tokens[i].is(w) {
			return false
		}
	}
	return true
}
