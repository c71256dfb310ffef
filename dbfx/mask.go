package dbfx

import (
	"strings"

	"github.com/sergas/dbkit/dbfx/internal/engine"
)

const (
	password = "password"
	bridges  = "= := to u&" // tokens and parts of them that may stand before the literal
)

// maskPasswords hides the literals that a text says to be passwords: those of roles,
// user mappings and subscriptions, in connection strings, JSON and DO blocks too. What
// is compared with a column of that name is hidden as well.
func maskPasswords(dialect Dialect, query string) string {
	if !mentionsPassword(query) {
		return query
	}
	var masked strings.Builder
	rules := engine.SQLite
	if dialect == Postgres {
		rules = engine.PostgreSQL
	}
	tokens := engine.NewLexer(rules, query)
	written, follows := 0, false // follows: the next literal is a password
	for tokens.Next() {
		start, token := tokens.Text()
		switch {
		case isLiteral(token):
			body, quote := dollarBody(token)
			switch {
			case follows, quote == "" && tellsPassword(token):
				token = "'" + mask + "'"
			case quote != "":
				token = quote + maskPasswords(dialect, body) + quote
			}
			_, whole := tokens.Text()
			masked.WriteString(query[written:start] + token)
			written, follows = start+len(whole), false
		case strings.EqualFold(strings.Trim(token, `"`), password):
			follows = true
		case !strings.Contains(bridges, strings.ToLower(token)):
			follows = false
		}
	}
	masked.WriteString(query[written:])
	return masked.String()
}

// mentionsPassword is asked of every statement that is observed. The w is the rarest
// letter of the word.
func mentionsPassword(query string) bool {
	for _, w := range [...]byte{'w', 'W'} {
		for i := 0; i < len(query); i++ {
			n := strings.IndexByte(query[i:], w)
			if n < 0 {
				break
			}
			i += n
			if i >= 4 && i+4 <= len(query) && strings.EqualFold(query[i-4:i+4], password) {
				return true
			}
		}
	}
	return false
}

// isLiteral reports whether token is a string, with the letters that may stand before
// it, or in dollar quotes.
func isLiteral(token string) bool {
	quote := strings.IndexByte(token, '\'')
	return quote >= 0 && quote <= 2 && token[0] != '"' || strings.HasPrefix(token, "$") && strings.Count(token, "$") > 1
}

// dollarBody takes the dollar quotes off a literal; quote is empty if there are none.
func dollarBody(token string) (body, quote string) {
	if token[0] != '$' {
		return token, ""
	}
	quote = token[:strings.IndexByte(token[1:], '$')+2]
	return strings.TrimSuffix(strings.TrimPrefix(token, quote), quote), quote
}

// tellsPassword reports whether a literal is a connection string, a JSON text or a
// statement with a password in it.
func tellsPassword(literal string) bool {
	rest := strings.ToLower(literal)
	for {
		_, after, found := strings.Cut(rest, password)
		if !found {
			return false
		}
		if after = strings.TrimLeft(after, " \t\r\n"); after != "" && strings.ContainsRune("='$:\"", rune(after[0])) && after != "'" { // a quote alone ends the literal
			return true
		}
		rest = after
	}
}
