package engine

import "strings"

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
