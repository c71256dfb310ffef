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
	switch engine.Keyword(query) {
	case "CREATE", "ALTER", "SET":
		return quotedAfterPassword.ReplaceAllString(query, "${1}'"+mask+"'")
	}
	return query
}
