package dbfx

import (
	"regexp"

	"github.com/sergas/dbkit/dbfx/internal/engine"
)

// quotedAfterPassword finds the literals of CREATE ROLE … PASSWORD 'x'.
var quotedAfterPassword = regexp.MustCompile(`(?is)(\bpassword\s+(?:e|u&)?)('(?:[^']|'')*'|\$[a-z_]*\$.*?\$[a-z_]*\$)`)

// maskPasswords hides what CREATE and ALTER of roles, user mappings and the like
// say in clear.
func maskPasswords(query string) string {
	if cannotMask(query) {
		return query
	}
	switch engine.Keyword(query) {
	case "CREATE", "ALTER", "SET":
		return quotedAfterPassword.ReplaceAllString(query, "${1}'"+mask+"'")
	}
	return query
}

// cannotMask reports whether a query begins with the letters of another word: it is
// asked of every statement that is observed, and most are queries.
func cannotMask(query string) bool {
	if len(query) < 3 || query[0]|0x20 < 'a' || query[0]|0x20 > 'z' { // a comment or a space may come first
		return false
	}
	a, b, c := query[0]|0x20, query[1]|0x20, query[2]|0x20
	return !(a == 'c' && b == 'r' && c == 'e' || a == 'a' && b == 'l' && c == 't' || a == 's' && b == 'e' && c == 't')
}
