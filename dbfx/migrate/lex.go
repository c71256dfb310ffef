package migrate

import (
	"strings"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/dbfx/internal/engine"
)

// tokenKind says what a token of SQL is.
type tokenKind byte

const (
	word       tokenKind = 'w' // a keyword, a name or a number; its text is in lower case
	quotedName tokenKind = 'q' // a name in quotes; its text is without them
	literal    tokenKind = 's' // a text in quotes, dollars too
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

// rulesOfText are those by which an engine reads SQL.
func rulesOfText(d dbfx.Dialect) engine.Rules {
	if d == dbfx.Postgres {
		return engine.PostgreSQL
	}
	return engine.SQLite
}

// code returns the tokens of text, without its comments, as the engine's lexer
// cuts them. That lexer gives a number digit by digit; here it is one word.
func code(rules engine.Rules, text string) []token {
	var list []token
	line, counted := 0, 0
	wordEnd := -1 // of the last token, if it is a word
	for l := engine.NewLexer(rules, text); l.Next(); {
		at, piece := l.Text()
		line += strings.Count(text[counted:at], "\n")
		counted = at
		kind, inside := kindOf(piece)
		if kind == word && at == wordEnd {
			list[len(list)-1].text += inside
		} else {
			list = append(list, token{kind, inside, line})
		}
		wordEnd = -1
		if kind == word {
			wordEnd = at + len(piece)
		}
	}
	return list
}

// kindOf says what a piece of SQL is, and gives its text as a token has it.
func kindOf(piece string) (tokenKind, string) {
	c := piece[0]
	last := len(piece) - 1
	switch {
	case c == '"' || c == '`' && last > 0:
		return quotedName, unquote(piece, c)
	case c == '[' && last > 0:
		return quotedName, strings.TrimSuffix(piece[1:], "]")
	case c == '\'':
		return literal, unquote(piece, c)
	case c == '$' && last > 0:
		tag := piece[:strings.IndexByte(piece[1:], '$')+2]
		return literal, strings.TrimSuffix(piece[len(tag):], tag)
	case isWordByte(c) && last > 1 && piece[1] == '\'': // E'…'
		return literal, unquote(piece[1:], '\'')
	case isWordByte(c):
		return word, strings.ToLower(piece)
	}
	return symbol, piece
}

// unquote takes the quotes away; the last one may be missing.
func unquote(text string, quote byte) string {
	q := string(quote)
	text = strings.TrimSuffix(text[1:], q)
	return strings.ReplaceAll(text, q+q, q)
}

func isWordByte(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}

// unclosed reports whether text ends within a quote, a comment or the body of a
// SQLite trigger: then goose has cut it at a semicolon that ends no statement.
func unclosed(rules engine.Rules, text string) bool {
	const mark = "dbfx_end"
	tokens := code(rules, text+"\n"+mark)
	if len(tokens) == 0 || !tokens[len(tokens)-1].is(mark) {
		return true
	}
	tokens = tokens[:len(tokens)-1]
	if n := len(tokens); n > 0 && tokens[n-1].is(";") {
		tokens = tokens[:n-1]
	}
	trigger := rules == engine.SQLite && begins(tokens, "create") && follows(tokens[:min(3, len(tokens))], "trigger")
	return trigger && follows(tokens, "begin") && !tokens[len(tokens)-1].is("end")
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
