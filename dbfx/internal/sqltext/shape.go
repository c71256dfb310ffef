// Package sqltext says what a statement is without what it is about: its shape,
// which holds no value, and its summary, which names a span or a row of a table.
package sqltext

import (
	"strings"
	"unicode/utf8"
)

// longest is how long a shape may be. What follows in longer ones is cut.
const longest = 1000

// Shape returns sql without comments, with one space where there were several,
// and with ? in the place of every text, number and parameter, lists of them
// folded. Two statements that differ in values alone have one shape.
func Shape(sql string) string {
	var b strings.Builder
	l := lexer{sql}
	var before token // the last one written
	values := 0      // how many ? stand in a row with commas between
	for b.Len() < longest {
		t := l.next()
		if t.kind == end {
			break
		}
		if t.kind == comment {
			continue
		}
		if t.kind == literal || t.kind == param {
			t = token{param, "?"}
			if before.text == "," && values > 0 { // one more of a list
				values++
				continue
			}
			values = 1
		} else if t.text != "," {
			if values > 1 {
				b.WriteString(", ...")
			}
			values = 0
		}
		if t.text == "," && values > 0 {
			if next := peek(l); next.kind == literal || next.kind == param {
				before = t
				continue
			}
			if values > 1 {
				b.WriteString(", ...")
			}
			values = 0
		}
		if spaced(before, t) {
			b.WriteByte(' ')
		}
		b.WriteString(t.text)
		before = t
	}
	if values > 1 {
		b.WriteString(", ...")
	}
	return cut(strings.TrimRight(b.String(), "; "), longest)
}

// peek returns the token after the comments that l reads next.
func peek(l lexer) token {
	for {
		if t := l.next(); t.kind != comment {
			return t
		}
	}
}

// spaced reports whether a space stands between two tokens.
func spaced(a, b token) bool {
	switch {
	case a.text == "" || a.text == "(" || a.text == "." || a.text == "::" || a.text == "[":
		return false
	case b.text == ")" || b.text == "," || b.text == "." || b.text == ";" || b.text == "::" || b.text == "[" || b.text == "]":
		return false
	case b.text == "(":
		return a.kind != word || isKeyword(a.text)
	case a.kind == punct && b.kind == punct && a.text != ")" && a.text != ",":
		return false // >=, ||, ->>
	}
	return true
}

// cut shortens s to at most n bytes of whole runes.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}
