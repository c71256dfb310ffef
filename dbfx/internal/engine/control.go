package engine

import (
	"errors"
	"strings"
)

// Keyword returns the first word of query in capitals, past spaces and comments.
func Keyword(query string) string {
	for {
		query = strings.TrimLeft(query, " \t\r\n\f\uFEFF;(")
		switch {
		case strings.HasPrefix(query, "--"):
			_, after, ok := strings.Cut(query, "\n")
			if !ok {
				return ""
			}
			query = after
		case strings.HasPrefix(query, "/*"):
			_, after, ok := strings.Cut(query[2:], "*/")
			if !ok {
				return ""
			}
			query = after
		default:
			end := strings.IndexFunc(query, func(r rune) bool { return r > 'z' || r < 'A' || r > 'Z' && r < 'a' })
			if end < 0 {
				end = len(query)
			}
			return strings.ToUpper(query[:end])
		}
	}
}

// ErrControl is the answer to COMMIT and its like inside a session.
var ErrControl = errors.New("a session's transaction is begun and ended by Run and View alone")

// CheckControl refuses a statement that would begin or end the transaction of a
// session. ROLLBACK TO is the user's own savepoint.
func CheckControl(query string) error {
	switch Keyword(query) {
	case "BEGIN", "START", "COMMIT", "END", "ABORT":
		return ErrControl
	case "ROLLBACK":
		if !strings.Contains(strings.ToUpper(query), " TO ") {
			return ErrControl
		}
	case "PREPARE":
		if strings.HasPrefix(strings.ToUpper(strings.Join(strings.Fields(query), " ")), "PREPARE TRANSACTION") {
			return ErrControl
		}
	}
	return nil
}
