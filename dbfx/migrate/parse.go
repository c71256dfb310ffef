package migrate

import (
	"errors"
	"fmt"
	"strings"

	"github.com/sergas/dbkit/dbfx/internal/engine"
)

// script is a file in goose's format, with the lines that goose does not tell.
//
// goose runs the file; this reads it for plans, checks and the line of an error.
// That both cut it into the same statements is tested on goose's own test data.
type script struct {
	up, down []statement
	noTx     bool
	lines    []string
}

// statement is one of a script.
type statement struct {
	text  string
	line  int  // of its first word, counted from 1
	block bool // between StatementBegin and StatementEnd
	rules engine.Rules
}

// errCut is what a statement that goose has cut in two needs.
var errCut = errors.New("the statement ends at a semicolon in a text or a body; put '-- +goose StatementBegin' before it and '-- +goose StatementEnd' behind it")

// isCut reports whether goose has ended the statement where the engine does not.
func (s statement) isCut() bool { return !s.block && unclosed(s.rules, s.text) }

// short is the statement in a line.
func (s statement) short() string { return shorten(s.rules, s.text) }

// tokens returns the statement's tokens without comments.
func (s statement) tokens() []token { return code(s.rules, s.text) }

// The states between the annotations of a file.
type section int

const (
	beforeUp section = iota
	inUp
	inDown
)

// parser reads a file line by line, as goose does.
type parser struct {
	rules   engine.Rules
	script  script
	section section
	block   int // line of the StatementBegin that is open, 0 if none
	buffer  strings.Builder
	first   int // line of the buffer's first text
}

// longestLine is goose's limit.
const longestLine = 4 << 20

// parseError is a fault at a line of a file.
type parseError struct {
	line int
	text string
}

// Error implements error.
func (e *parseError) Error() string { return e.text }

// parse reads a file in goose's format, of SQL by rules.
func parse(rules engine.Rules, text string) (script, error) {
	p := parser{rules: rules}
	if strings.HasPrefix(text, "\uFEFF") {
		return script{}, &parseError{1, "begins with a byte order mark, which goose does not take; save it without"}
	}
	text = strings.ReplaceAll(text, "\r\n", "\n")
	p.script.lines = strings.Split(text, "\n")
	for i, line := range p.script.lines {
		if len(line) >= longestLine {
			return script{}, &parseError{i + 1, "the line is longer than the 4 MiB that goose takes; break it"}
		}
		trimmed := strings.TrimSpace(line)
		var err error
		if strings.HasPrefix(trimmed, "--") && strings.Contains(line, "+goose") {
			err = p.annotation(line, i+1)
		} else {
			err = p.sql(line, i+1)
		}
		if err != nil {
			return script{}, err
		}
	}
	return p.script, p.end()
}

// annotation takes a line "-- +goose …".
func (p *parser) annotation(line string, number int) error {
	if line[0] == ' ' || line[0] == '\t' {
		return &parseError{number, "want the annotation at the beginning of the line"}
	}
	name := strings.ToLower(strings.TrimSpace(strings.Replace(strings.ReplaceAll(line, "--", ""), "+goose", "", 1)))
	switch name {
	case "up":
		if p.section != beforeUp {
			return &parseError{number, "a second '-- +goose Up'"}
		}
		p.section = inUp
	case "down":
		if p.section != inUp || p.block != 0 {
			return &parseError{number, "want '-- +goose Down' after '-- +goose Up' and outside of a statement"}
		}
		if err := p.unfinished(); err != nil {
			return err
		}
		p.section = inDown
	case "statementbegin":
		if p.section == beforeUp || p.block != 0 {
			return &parseError{number, "want '-- +goose StatementBegin' after '-- +goose Up' and outside of another"}
		}
		if err := p.unfinished(); err != nil {
			return err
		}
		p.block = number
	case "statementend":
		if p.block == 0 {
			return &parseError{number, "'-- +goose StatementEnd' without its StatementBegin"}
		}
		if strings.TrimSpace(p.buffer.String()) == "" {
			return &parseError{number, "nothing between StatementBegin and StatementEnd"}
		}
		p.store()
		p.block = 0
	case "no transaction":
		p.script.noTx = true
	case "envsub on", "envsub off":
	default:
		return &parseError{number, fmt.Sprintf("goose has no annotation %q", name)}
	}
	return nil
}

// sql takes any other line.
func (p *parser) sql(line string, number int) error {
	trimmed := strings.TrimSpace(line)
	// A line of spaces begins a statement for goose, so a comment after it is
	// part of one.
	if p.buffer.Len() == 0 && (line == "" || strings.HasPrefix(trimmed, "--")) || p.section == beforeUp && trimmed == "" {
		return nil
	}
	if p.section == beforeUp {
		return &parseError{number, "want '-- +goose Up' before the first statement"}
	}
	if p.first == 0 && trimmed != "" {
		p.first = number
	}
	p.buffer.WriteString(line + "\n")
	if p.block == 0 && endsStatement(line) {
		p.store()
	}
	return nil
}

// store ends a statement.
func (p *parser) store() {
	s := statement{strings.TrimSpace(p.buffer.String()), p.first, p.block > 0, p.rules}
	p.buffer.Reset()
	p.first = 0
	if p.section == inUp {
		p.script.up = append(p.script.up, s)
	} else {
		p.script.down = append(p.script.down, s)
	}
}

func (p *parser) unfinished() error {
	if strings.TrimSpace(p.buffer.String()) == "" {
		return nil
	}
	return &parseError{p.first, "the statement that begins here has no semicolon at the end of a line"}
}

func (p *parser) end() error {
	switch {
	case p.section == beforeUp:
		return &parseError{1, "want a line '-- +goose Up'"}
	case p.block != 0:
		return &parseError{p.block, "'-- +goose StatementBegin' without its StatementEnd"}
	}
	return p.unfinished()
}

// endsStatement is goose's rule: the last word before a comment ends in a
// semicolon.
func endsStatement(line string) bool {
	last := ""
	for _, w := range strings.Fields(line) {
		if strings.HasPrefix(w, "--") {
			break
		}
		last = w
	}
	return strings.HasSuffix(last, ";")
}
