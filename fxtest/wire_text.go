package fxtest

import (
	"slices"
	"strings"
)

// endsIn reports whether a statement of text is a COMMIT, and whether one ends the
// transaction in whatever way. What stands in strings, bodies and comments is no
// statement, and ROLLBACK TO ends nothing.
func endsIn(text string) (commits, ends bool) {
	for _, words := range statementsOf(text) {
		switch words[0] {
		case "COMMIT", "END":
			commits, ends = true, true
		case "ABORT":
			ends = true
		case "ROLLBACK":
			ends = ends || !slices.Contains(words, "TO")
		}
	}
	return commits, ends
}

// statementsOf returns the first words, three at most, of each statement, in
// capitals.
func statementsOf(text string) [][]string {
	var list [][]string
	var words []string
	for text != "" {
		n := skip(text)
		if n == 0 {
			n = word(text)
			if strings.EqualFold(text[:n], "atomic") {
				break // BEGIN ATOMIC … END is the body of a function, to the end
			}
			if n > 0 && len(words) < 3 {
				words = append(words, strings.ToUpper(text[:n]))
			}
		}
		if text[0] == ';' && len(words) > 0 {
			list, words = append(list, words), nil
		}
		text = text[max(n, 1):]
	}
	if len(words) > 0 {
		list = append(list, words)
	}
	return list
}

// word is the length of the word that text begins with.
func word(text string) int {
	n := 0
	for n < len(text) && (text[n] == '_' || text[n] >= 0x80 || 'a' <= text[n]|0x20 && text[n]|0x20 <= 'z' ||
		n > 0 && (text[n] == '$' || '0' <= text[n] && text[n] <= '9')) {
		n++
	}
	return n
}

// skip is the length of the string, quoted name, body in dollars or comment that
// text begins with. One without an end goes to the end of text.
func skip(text string) int {
	switch {
	case text[0] == '\'' || text[0] == '"':
		return until(text, 1, text[:1]) // a doubled quote is two of them side by side
	case strings.HasPrefix(text, "E'") || strings.HasPrefix(text, "e'"):
		return escaped(text)
	case strings.HasPrefix(text, "--"):
		return until(text, 2, "\n")
	case strings.HasPrefix(text, "/*"):
		return comment(text)
	case text[0] == '$':
		tag, _, found := strings.Cut(text[1:], "$")
		if found && word(tag) == len(tag) {
			return until(text, len(tag)+2, "$"+tag+"$")
		}
	}
	return 0
}

// until is where mark ends, looked for from an index on.
func until(text string, from int, mark string) int {
	if i := strings.Index(text[from:], mark); i >= 0 {
		return from + i + len(mark)
	}
	return len(text)
}

// escaped is the length of E'…', in which a quote behind a backslash ends nothing.
func escaped(text string) int {
	for i := 2; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '\'':
			return i + 1
		}
	}
	return len(text)
}

// comment is the length of a comment, in which there can be others.
func comment(text string) int {
	depth := 0
	for i := 0; i+1 < len(text); i++ {
		switch text[i : i+2] {
		case "/*":
			depth++
			i++
		case "*/":
			if depth--; depth == 0 {
				return i + 2
			}
			i++
		}
	}
	return len(text)
}
