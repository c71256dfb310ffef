package migrate

import "strings"

// column is one of a CREATE TABLE.
type column struct {
	name   token
	kind   string // its type in lower case, without what stands in parentheses
	length bool   // something stands in parentheses
	rest   []token
}

// parseTable returns the name and the columns of a CREATE TABLE, "" if it is none.
// What is no column is one without a name.
func parseTable(t []token) (string, []column) {
	i := 1
	if !begins(t, "create") {
		return "", nil
	}
	for i < len(t) && (t[i].is("temp") || t[i].is("temporary") || t[i].is("unlogged") || t[i].is("local") || t[i].is("global")) {
		i++
	}
	if !begins(t[i:], "table") {
		return "", nil
	}
	rest := t[i+1:]
	if begins(rest, "if", "not", "exists") {
		rest = rest[3:]
	}
	name, _, rest := takeName(rest)
	if !begins(rest, "(") {
		return name, nil
	}
	end, depth := 0, 0
	for end = range rest {
		if rest[end].is("(") {
			depth++
		} else if rest[end].is(")") {
			depth--
		}
		if depth == 0 {
			break
		}
	}
	var list []column
	for _, item := range splitCommas(rest[1:end]) {
		list = append(list, parseColumn(item))
	}
	return name, list
}

func parseColumn(t []token) column {
	if len(t) == 0 || isConstraint(t) || begins(t, "like") || !t[0].isName() {
		return column{rest: t}
	}
	c := column{name: t[0], rest: t[1:]}
	for len(c.rest) > 0 && c.rest[0].kind == word && !endsType[c.rest[0].text] {
		c.kind = strings.TrimSpace(c.kind + " " + c.rest[0].text)
		c.rest = c.rest[1:]
	}
	c.length = begins(c.rest, "(")
	return c
}

// endsType are the words that can follow the type of a column.
var endsType = map[string]bool{
	"not": true, "null": true, "default": true, "primary": true, "unique": true, "check": true, "references": true,
	"constraint": true, "generated": true, "collate": true, "as": true,
}

// integers are the types that PostgreSQL holds to whole numbers.
var integers = map[string]bool{"int": true, "integer": true, "bigint": true, "smallint": true, "int2": true, "int4": true, "int8": true}

// portable looks for what SQLite takes and PostgreSQL refuses.
func (l *linter) portable(table string, columns []column) {
	var checks [][]token
	for _, c := range columns {
		for i := range c.rest {
			if c.rest[i].is("check") {
				checks = append(checks, c.rest[i:])
				named := i >= 2 && c.rest[i-2].is("constraint") // CONSTRAINT name CHECK
				if !named {
					l.add(c.rest[i], "unnamed-check", "name the check of %s with CONSTRAINT: the engines call it differently, and dbfx.Constraint with them", table)
				}
			}
		}
	}
	var loose []string
	var first token
	for _, c := range columns {
		name := c.name.text
		switch {
		case name == "":
		case c.length && (strings.Contains(c.kind, "char")) && !checked(checks, "length", name):
			l.add(c.name, "varchar-length", "SQLite takes any length: add constraint … check (length(%s) <= n)", name)
		case c.kind == "json" || c.kind == "jsonb":
			l.add(c.name, "json-check", "SQLite takes any text in %s: give each engine a folder, and SQLite's a check (json_valid(%[1]s))", name)
		case integers[c.kind] && !(c.kind == "integer" && follows(c.rest, "primary", "key")) && !checked(checks, "cast", name):
			if loose == nil {
				first = c.name
			}
			loose = append(loose, name)
		}
	}
	if loose != nil {
		l.add(first, "integer-check", "SQLite takes texts and fractions in %s: add constraint … check (%s = cast(%[2]s as %s)), "+
			"or give each engine a folder and make SQLite's table STRICT", strings.Join(loose, ", "), loose[0], "bigint")
	}
}

// checked reports whether a check calls function and names the column.
func checked(checks [][]token, function, name string) bool {
	for _, t := range checks {
		if follows(t, function) && follows(t, name) {
			return true
		}
	}
	return false
}
