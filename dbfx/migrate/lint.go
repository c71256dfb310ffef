package migrate

import (
	"cmp"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/sergas/dbkit/dbfx"
)

// Finding is a mistake that Lint has found.
type Finding struct {
	File    string
	Line    int
	Rule    string
	Message string
}

// String returns the finding on one line.
func (f Finding) String() string {
	return fmt.Sprintf("%s:%d: %s (%s)", f.File, f.Line, f.Message, f.Rule)
}

// LintOption changes what Lint looks for.
type LintOption func(*lintOptions)

type lintOptions struct {
	only   dbfx.Dialect
	others bool
}

// LintFor says that files which stand in no engine's folder run on this engine
// alone. Without it they must suit both.
func LintFor(d dbfx.Dialect) LintOption { return func(o *lintOptions) { o.only = d } }

// LintForGoose says that goose's own command runs the files too: then a file must
// itself do what Up does, set a lock_timeout and turn SQLite's foreign keys off
// outside of a transaction.
func LintForGoose() LintOption { return func(o *lintOptions) { o.others = true } }

// Lint looks for mistakes that take services down, in what goes up. It knows no
// database, and so takes every table that a file does not make for a large one in
// use.
//
// A comment waives a rule, for the statement before or in which it stands, or for
// the file where it stands before '-- +goose Up':
//
//	-- lint:ignore rename the only program that reads it is stopped first
//
// Rules: index-not-concurrent, concurrent-in-transaction, unnamed-index, not-null,
// column-type, rename, constraint-not-valid, lock-timeout (PostgreSQL);
// rebuild-order, rebuild-foreign-keys (SQLite); varchar-length, json-check,
// integer-check, unnamed-check (files that run on both).
func Lint(fsys fs.FS, opts ...LintOption) ([]Finding, error) {
	var o lintOptions
	for _, opt := range opts {
		opt(&o)
	}
	var out []Finding
	seen := map[string]bool{}
	for _, d := range []dbfx.Dialect{dbfx.Postgres, dbfx.SQLite} {
		if o.only != "" && d != o.only {
			continue
		}
		c, err := readCatalog(fsys, d, nil)
		if err != nil {
			return nil, err
		}
		shared := o.only == "" && !hasEngineFolders(fsys)
		for _, m := range c.list {
			l := linter{opt: o, engine: d, shared: shared, m: m, made: map[string]bool{}}
			for _, f := range l.run() {
				if key := f.String(); !seen[key] {
					seen[key] = true
					out = append(out, f)
				}
			}
		}
	}
	slices.SortFunc(out, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Rule, b.Rule))
	})
	return out, nil
}

// hasEngineFolders reports whether the engines have different files.
func hasEngineFolders(fsys fs.FS) bool {
	a, err := rootPath(fsys, dbfx.Postgres)
	if err != nil {
		return true
	}
	b, err := rootPath(fsys, dbfx.SQLite)
	return err != nil || a != b
}

// linter looks at one file.
type linter struct {
	opt    lintOptions
	engine dbfx.Dialect
	shared bool
	m      *migration

	made    map[string]bool // tables that the file has made so far
	renamed map[string]bool // tables that the file has renamed away
	timeout bool            // the file has set lock_timeout
	keysOff bool            // the file has turned foreign keys off
	stmt    statement
	out     []Finding
}

func (l *linter) run() []Finding {
	l.renamed = map[string]bool{}
	for _, s := range l.m.script.up {
		l.stmt = s
		for _, tokens := range split(s.tokens()) {
			l.one(tokens)
		}
	}
	whole := l.waived(0, l.upLine())
	return slices.DeleteFunc(l.out, func(f Finding) bool { return whole[f.Rule] })
}

// one looks at a statement; text between StatementBegin and StatementEnd can hold
// several.
func (l *linter) one(tokens []token) {
	if len(tokens) == 0 {
		return
	}
	if l.engine == dbfx.Postgres {
		l.postgres(tokens)
	} else {
		l.sqlite(tokens)
	}
	if table, columns := parseTable(tokens); table != "" {
		if l.shared {
			l.portable(table, columns)
		}
		l.made[table] = true
	}
}

// add keeps a finding at a token, unless a comment at its statement waives it.
func (l *linter) add(at token, rule, format string, args ...any) {
	if l.waivedHere()[rule] {
		return
	}
	l.out = append(l.out, Finding{l.m.file, l.stmt.line + at.line, rule, fmt.Sprintf(format, args...)})
}

// waivedHere are the rules that comments in the statement, or just before it,
// waive.
func (l *linter) waivedHere() map[string]bool {
	first := l.stmt.line - 1
	for first > 0 && strings.HasPrefix(strings.TrimSpace(l.m.script.lines[first-1]), "--") {
		first--
	}
	return l.waived(first, l.stmt.line+strings.Count(l.stmt.text, "\n"))
}

// waived are the rules that comments on these lines waive; a reason must stand
// there too.
func (l *linter) waived(from, to int) map[string]bool {
	rules := map[string]bool{}
	for _, line := range l.m.script.lines[from:min(to, len(l.m.script.lines))] {
		_, text, ok := strings.Cut(line, "lint:ignore ")
		if words := strings.Fields(text); ok && strings.Contains(line, "--") && len(words) > 1 {
			for rule := range strings.SplitSeq(words[0], ",") {
				rules[rule] = true
			}
		}
	}
	return rules
}

// upLine is the index of '-- +goose Up'.
func (l *linter) upLine() int {
	for i, line := range l.m.script.lines {
		if strings.EqualFold(strings.Join(strings.Fields(line), " "), "-- +goose up") {
			return i
		}
	}
	return 0
}

// split cuts tokens at the semicolons that stand in no parentheses.
func split(tokens []token) [][]token {
	var list [][]token
	depth, from := 0, 0
	for i, t := range tokens {
		switch {
		case t.is("("):
			depth++
		case t.is(")"):
			depth--
		case t.is(";") && depth <= 0:
			list = append(list, tokens[from:i])
			from = i + 1
		}
	}
	return append(list, tokens[from:])
}
