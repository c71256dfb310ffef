package dbfx

import "strings"

// IsProduction reports whether ENV is production or prod, in any case: there what
// destroys data is refused unless it is asked for.
func (c Config) IsProduction() bool {
	switch strings.ToLower(strings.TrimSpace(c.Env)) {
	case "production", "prod":
		return true
	}
	return false
}
