package engine

import "strings"

// quoted reads on behind the opening quote; a doubled one is a part of the text.
func (l *Lexer) quoted(quote byte) {
	for {
		n := strings.IndexByte(l.text[l.pos:], quote)
		if n < 0 {
			l.pos = len(l.text)
			return
		}
		l.pos += n + 1
		if l.pos == len(l.text) || l.text[l.pos] != quote {
			return
		}
		l.pos++
	}
}

// string reads a string of PostgreSQL's behind its opening quote. A string goes
// on behind a newline, by the rules with which it began.
func (l *Lexer) string(backslash bool) {
	for {
		l.segment(backslash)
		next, ok := l.continued()
		if !ok {
			return
		}
		l.pos = next
	}
}

func (l *Lexer) segment(backslash bool) {
	if !backslash {
		l.quoted('\'')
		return
	}
	for l.pos < len(l.text) {
		switch c := l.text[l.pos]; {
		case c == '\\':
			l.pos += 2
		case c == '\'' && l.follows('\''):
			l.pos += 2
		case c == '\'':
			l.pos++
			return
		default:
			l.pos++
		}
	}
	l.pos = len(l.text)
}

// continued returns where the string goes on: behind the quote that follows
// spaces, a newline among them, and comments to the end of a line.
func (l *Lexer) continued() (next int, ok bool) {
	newline := false
	for i := l.pos; i < len(l.text); i++ {
		switch c := l.text[i]; {
		case c == '\n' || c == '\r':
			newline = true
		case c == ' ' || '\t' <= c && c <= '\r':
		case c == '-' && i+1 < len(l.text) && l.text[i+1] == '-':
			n := strings.IndexAny(l.text[i:], "\r\n")
			if n < 0 {
				return 0, false
			}
			i += n - 1
		default:
			return i + 1, c == '\'' && newline
		}
	}
	return 0, false
}

// dollar reads a string between $tag$ of PostgreSQL's; $1 is none.
func (l *Lexer) dollar() {
	i := l.pos
	if i < len(l.text) && isLetter(l.text[i]) {
		for i++; i < len(l.text) && isNamePart(l.text[i]) && l.text[i] != '$'; i++ {
			continue
		}
	}
	if i == len(l.text) || l.text[i] != '$' {
		return
	}
	tag := l.text[l.pos-1 : i+1]
	l.pos = i + 1
	l.until(tag)
}
