package sqlite

import "strings"

// This file reads as much SQL as must be read before SQLite is asked: the first
// words of a statement, and the name of a PRAGMA.

// skipBlank returns the first index from i on that is neither a space nor in a
// comment.
func skipBlank(query string, i int) int {
	for i < len(query) {
		switch query[i] {
		case ' ', '\t', '\r', '\n', '\f', '\v':
			i++
		case 0xEF: // a byte order mark, which SQLite skips at the beginning
			if !strings.HasPrefix(query[i:], "\uFEFF") {
				return i
			}
			i += len("\uFEFF")
		case '-', '/':
			j := skipComment(query, i)
			if j == i {
				return i
			}
			i = j + 1
		default:
			return i
		}
	}
	return len(query)
}

// wordAt returns the word at i in capitals, "" where there is none, and the index
// behind it.
func wordAt(query string, i int) (word string, end int) {
	end = i
	for end < len(query) && isWord(query[end]) {
		end++
	}
	return strings.ToUpper(query[i:end]), end
}

// nextWord is wordAt past blanks.
func nextWord(query string, i int) (word string, end int) {
	return wordAt(query, skipBlank(query, i))
}

// nextName is the name past blanks at i, in small letters and without its quotes.
func nextName(query string, i int) (name string, end int) {
	i = skipBlank(query, i)
	if i < len(query) && strings.IndexByte("'\"`[", query[i]) >= 0 {
		end = skipQuoted(query, i)
		return strings.ToLower(query[i+1 : min(end, len(query))]), min(end+1, len(query))
	}
	word, end := wordAt(query, i)
	return strings.ToLower(word), end
}

// endOfStatement returns the index behind the ; that ends the statement at i. It
// is right for statements that hold no others, as the body of a trigger does.
func endOfStatement(query string, i int) int {
	for ; i < len(query); i++ {
		switch query[i] {
		case ';':
			return i + 1
		case '\'', '"', '`', '[':
			i = skipQuoted(query, i)
		case '-', '/':
			i = skipComment(query, i)
		}
	}
	return len(query)
}

// endOfPart is endOfStatement that knows triggers: the body of one holds statements,
// and ends with END.
func endOfPart(query string, i int) int {
	end := endOfStatement(query, i)
	if !isTrigger(query, i) {
		return end
	}
	for end < len(query) {
		if word, j := nextWord(query, end); word == "END" {
			return min(skipBlank(query, j)+1, len(query)) // the ; behind it
		}
		end = endOfStatement(query, end)
	}
	return end
}

// isTrigger reports whether the statement at i is a CREATE TRIGGER.
func isTrigger(query string, i int) bool {
	word, end := wordAt(query, i)
	if word == "EXPLAIN" {
		if word, end = nextWord(query, end); word == "QUERY" {
			_, end = nextWord(query, end) // PLAN
			word, end = nextWord(query, end)
		}
	}
	if word != "CREATE" {
		return false
	}
	if word, end = nextWord(query, end); word == "TEMP" || word == "TEMPORARY" {
		word, _ = nextWord(query, end)
	}
	return word == "TRIGGER"
}

// firstStatement returns the index of the first statement from i on, past blanks
// and empty statements, or the length of query.
func firstStatement(query string, i int) int {
	for {
		i = skipBlank(query, i)
		if i >= len(query) || query[i] != ';' {
			return i
		}
		i++
	}
}

// pragmaAt reads the PRAGMA whose name stands at i: PRAGMA [schema.]name, and
// whether a value follows.
func pragmaAt(query string, i int) (name string, value bool) {
	name, i = nextName(query, i)
	if j := skipBlank(query, i); j < len(query) && query[j] == '.' {
		name, i = nextName(query, j+1)
	}
	i = skipBlank(query, i)
	return name, i < len(query) && (query[i] == '=' || query[i] == '(')
}
