package sqlite

import "strings"

// writes reports whether query may write. It errs towards yes: a read that
// queues is only late, a write that does not can meet SQLITE_BUSY.
func writes(word, query string) bool {
	switch word {
	case "SELECT", "VALUES", "EXPLAIN", "":
		return strings.Contains(strings.TrimRight(query, "; \t\r\n"), ";") // more statements may follow
	case "PRAGMA", "BEGIN", "SAVEPOINT", "RELEASE", "COMMIT", "END", "ROLLBACK", "ATTACH", "DETACH":
		return false
	case "WITH":
		upper := strings.ToUpper(query)
		return strings.Contains(upper, "INSERT") || strings.Contains(upper, "UPDATE") ||
			strings.Contains(upper, "DELETE") || strings.Contains(upper, "REPLACE")
	}
	return true
}
