package sqltext

import (
	"slices"
	"strings"
)

// summaryLongest is the bound of OpenTelemetry's db.query.summary.
const summaryLongest = 255

// Name returns the name that sqlc gives a query in the comment before it, or "":
//
//	-- name: ListTokens :many
func Name(sql string) string {
	l := lexer{sql}
	for t := l.next(); t.kind == comment; t = l.next() {
		text := strings.TrimSpace(strings.Trim(t.text, "-/*# \t"))
		rest, ok := strings.CutPrefix(text, "name:")
		if !ok {
			continue
		}
		if fields := strings.Fields(rest); len(fields) > 0 {
			return fields[0]
		}
	}
	return ""
}

// Summary names a statement in a few words that hold no value: sqlc's name if it
// has one, else its operation and the table: "SELECT tokens".
func Summary(sql string) string {
	if name := Name(sql); name != "" {
		return cut(name, summaryLongest)
	}
	operation, target := Operation(sql)
	if target != "" {
		operation += " " + target
	}
	return cut(operation, summaryLongest)
}

// Operation returns the operation of the first statement, in capitals, and the
// first table that it names, "" where it names none.
func Operation(sql string) (operation, target string) {
	l := lexer{sql}
	depth := 0
	for t := l.next(); t.kind != end; t = l.next() {
		switch {
		case t.kind == comment:
		case t.text == "(":
			depth++
		case t.text == ")":
			depth--
		case t.text == ";" && operation != "":
			return operation, target
		case t.kind != word:
		case operation == "":
			operation = strings.ToUpper(t.text)
			if target = direct(operation, &l); target != "" {
				return operation, target
			}
		case operation == "WITH" && depth == 0 && slices.Contains(bodies, strings.ToUpper(t.text)):
			operation = strings.ToUpper(t.text)
			if target = direct(operation, &l); target != "" {
				return operation, target
			}
		case depth == 0 && operation != "WITH" && slices.Contains(before, strings.ToUpper(t.text)):
			if target = table(&l); target != "" {
				return operation, target
			}
		}
	}
	return operation, target
}

var (
	bodies = []string{"SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "VALUES"}
	// before are the words that a table's name follows.
	before = []string{"FROM", "INTO", "TABLE", "JOIN", "VIEW", "INDEX", "SEQUENCE"}
	// between may stand between such a word and the name.
	between = []string{"ONLY", "IF", "NOT", "EXISTS", "CONCURRENTLY", "LATERAL", "OR", "ROLLBACK", "ABORT", "REPLACE", "FAIL", "IGNORE"}
)

// direct returns the name that follows the operation itself.
func direct(operation string, l *lexer) string {
	switch operation {
	case "UPDATE", "TRUNCATE", "REINDEX", "VACUUM", "ANALYZE", "LOCK", "COPY", "PRAGMA", "CALL", "SAVEPOINT":
		look := *l
		if t := peek(look); strings.EqualFold(t.text, "TABLE") {
			look.next()
		}
		if name := table(&look); name != "" {
			*l = look
			return name
		}
	}
	return ""
}

// table reads a name with its schema, without quotes.
func table(l *lexer) string {
	look := *l
	t := look.next()
	for t.kind == comment || t.kind == word && slices.Contains(between, strings.ToUpper(t.text)) {
		t = look.next()
	}
	if t.kind != word || isKeyword(t.text) {
		return "" // a parenthesis among them, which the caller counts
	}
	*l = look
	name := unquote(t.text)
	for look = *l; look.next().text == "."; look = *l {
		t = look.next()
		if t.kind != word {
			break
		}
		name += "." + unquote(t.text)
		*l = look
	}
	return name
}

func unquote(name string) string {
	if len(name) < 2 || name[0] != '"' && name[0] != '`' {
		return name
	}
	quote := name[:1]
	return strings.ReplaceAll(name[1:len(name)-1], quote+quote, quote)
}

// keywords are those after which a parenthesis is set apart, or which cannot be a
// table's name.
var keywords = func() map[string]bool {
	set := map[string]bool{}
	for _, w := range strings.Fields(`ALL AND ANY AS BY CASE CHECK CONFLICT DEFAULT DELETE DISTINCT DO ELSE END EXCEPT EXISTS FROM GROUP HAVING
		IN INSERT INTERSECT INTO IS JOIN KEY LIKE LIMIT NOT NULL OFFSET ON OR ORDER OVER PARTITION REFERENCES RETURNING SELECT SET
		TABLE THEN UNION UNIQUE UPDATE USING VALUES VIEW WHEN WHERE WITH`) {
		set[w] = true
	}
	return set
}()

func isKeyword(s string) bool { return len(s) < 12 && keywords[strings.ToUpper(s)] }
