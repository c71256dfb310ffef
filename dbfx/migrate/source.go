package migrate

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/pressly/goose/v3"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/dbfx/internal/engine"
)

// migration is one file or one Go migration.
type migration struct {
	version  int64
	file     string // its path in the file system, or the name of a Go migration
	script   script // zero for Go
	code     *Go    // nil for SQL
	text     string // as it was read: a file of a folder may be changed before it runs
	checksum string // "" for Go
}

// statements returns those of a direction.
func (m *migration) statements(up bool) []statement {
	if up {
		return m.script.up
	}
	return m.script.down
}

// noTx reports whether the migration wants no transaction.
func (m *migration) noTx(up bool) bool {
	switch {
	case m.code == nil:
		return m.script.noTx
	case up:
		return m.code.UpDB != nil
	}
	return m.code.DownDB != nil
}

// reversible reports whether there is a way down.
func (m *migration) reversible() bool {
	if m.code != nil {
		return m.code.Down != nil || m.code.DownDB != nil
	}
	return len(m.script.down) > 0
}

// source is where migrations come from. It reads them once, when they are first
// needed.
type source struct {
	fsys fs.FS
	opt  options

	seen seen

	mu     sync.Mutex
	loaded map[dbfx.Dialect]*catalog
}

// catalog is what a source has for one engine.
type catalog struct{ list []*migration }

func newSource(fsys fs.FS, opts []Option) *source {
	s := &source{fsys: fsys, opt: defaults(), loaded: map[dbfx.Dialect]*catalog{}}
	for _, opt := range opts {
		if opt != nil {
			opt(&s.opt)
		}
	}
	return s
}

// catalog reads the migrations for an engine.
func (s *source) catalog(dialect dbfx.Dialect) (*catalog, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.loaded[dialect]; c != nil {
		return c, nil
	}
	if err := s.opt.check(); err != nil {
		return nil, err
	}
	c, err := readCatalog(s.fsys, dialect, s.opt.code)
	if err != nil {
		return nil, err
	}
	s.loaded[dialect] = c
	return c, nil
}

func readCatalog(fsys fs.FS, dialect dbfx.Dialect, code []Go) (*catalog, error) {
	if fsys == nil {
		return nil, errors.New("dbfx: migrate: want a file system, got nil")
	}
	root, err := root(fsys, dialect)
	if err != nil {
		return nil, err
	}
	c := &catalog{}
	names, err := fs.Glob(root, "*.sql")
	if err != nil {
		return nil, fmt.Errorf("dbfx: migrate: %w", err)
	}
	for _, name := range names {
		m, err := readFile(root, name, rulesOfText(dialect))
		if err == nil {
			err = m.check()
		}
		if err != nil {
			return nil, err
		}
		c.list = append(c.list, m)
	}
	for _, g := range code {
		if err := g.check(); err != nil {
			return nil, err
		}
		c.list = append(c.list, &migration{version: g.Version, file: g.name(), code: &g})
	}
	if len(c.list) == 0 {
		return nil, errors.New("dbfx: migrate: want .sql files such as 00001_name.sql, got none")
	}
	slices.SortFunc(c.list, func(a, b *migration) int { return int(min(max(a.version-b.version, -1), 1)) })
	for i := 1; i < len(c.list); i++ {
		if a, b := c.list[i-1], c.list[i]; a.version == b.version {
			return nil, fmt.Errorf("dbfx: migrate: %s and %s have the same version", a.file, b.file)
		}
	}
	return c, nil
}

// root is the folder that holds the files.
func root(fsys fs.FS, dialect dbfx.Dialect) (fs.FS, error) {
	name, err := rootPath(fsys, dialect)
	if err != nil {
		return nil, err
	}
	return fs.Sub(fsys, name)
}

// rootPath finds the folder that holds the files: the folder of the engine, where
// there are such; the root; or the only folder in it, which is what go:embed
// without fs.Sub makes.
func rootPath(fsys fs.FS, dialect dbfx.Dialect) (string, error) {
	at := "."
	for {
		files, folders, err := entries(fsys, at)
		if err != nil {
			return "", fmt.Errorf("dbfx: migrate: %w", err)
		}
		own, split := engineFolder(folders, dialect)
		switch {
		case split && len(files) > 0:
			return "", fmt.Errorf("dbfx: migrate: %s stands beside the folders of the engines; move it into each", files[0])
		case split && own == "":
			return "", fmt.Errorf("dbfx: migrate: there is no folder %q", dialect)
		case split:
			return path.Join(at, own), nil
		case len(files) > 0 || len(folders) != 1:
			return at, nil
		}
		at = path.Join(at, folders[0])
	}
}

// entries are the .sql files and the folders in a folder.
func entries(fsys fs.FS, at string) (files, folders []string, err error) {
	list, err := fs.ReadDir(fsys, at)
	for _, e := range list {
		switch {
		case e.IsDir():
			folders = append(folders, e.Name())
		case path.Ext(e.Name()) == ".sql":
			files = append(files, e.Name())
		case strings.EqualFold(path.Ext(e.Name()), ".sql"):
			err = fmt.Errorf("%s: want .sql in small letters: goose leaves such a file out", e.Name())
		}
	}
	return files, folders, err
}

// engineFolder finds the folder of an engine, and whether there is one of any.
func engineFolder(folders []string, dialect dbfx.Dialect) (own string, split bool) {
	for name, engine := range map[string]dbfx.Dialect{
		"postgresql": dbfx.Postgres, "postgres": dbfx.Postgres, "sqlite": dbfx.SQLite, "sqlite3": dbfx.SQLite,
	} {
		if slices.Contains(folders, name) {
			split = true
			if engine == dialect {
				own = name
			}
		}
	}
	return own, split
}

// readFile reads one file. goose leaves out a file without a number in silence;
// here it is an error.
func readFile(fsys fs.FS, name string, rules engine.Rules) (*migration, error) {
	version, err := goose.NumericComponent(name)
	if err != nil {
		return nil, fmt.Errorf("dbfx: migrate: %s: want a name such as 00001_name.sql", name)
	}
	text, err := fs.ReadFile(fsys, name)
	if err != nil {
		return nil, fmt.Errorf("dbfx: migrate: %w", err)
	}
	m := &migration{version: version, file: name, text: string(text), checksum: checksum(string(text))}
	if m.script, err = parse(rules, string(text)); err != nil {
		fault := &Error{File: name, Up: true, Err: err}
		if at := (*parseError)(nil); errors.As(err, &at) {
			fault.Line = at.line
		}
		return nil, fault
	}
	return m, nil
}

// check refuses what cannot go well, before anything runs.
func (m *migration) check() error {
	for _, up := range []bool{true, false} {
		list := m.statements(up)
		for i, s := range list {
			line, err := m.checkStatement(list[:i], s)
			if err != nil {
				return &Error{File: m.file, Line: s.line + line, Statement: s.short(), Up: up, Err: err}
			}
		}
	}
	return nil
}

// checkStatement refuses COMMIT and its like in a file that runs in a transaction: it
// would end that with its lock, and leave half of the file where the rest fails. It
// refuses COPY … FROM STDIN, as pg_dump writes it: the server would wait for rows
// that no one sends.
func (m *migration) checkStatement(before []statement, s statement) (line int, err error) {
	if s.rules == engine.PostgreSQL && begins(s.tokens(), "copy") && follows(s.tokens(), "from", "stdin") {
		return 0, errors.New("COPY FROM STDIN takes its rows from psql; write INSERT, or dump with --inserts")
	}
	control := (*engine.ControlError)(nil)
	if m.script.noTx || !errors.As(s.rules.CheckControl(s.text), &control) {
		return 0, nil
	}
	// The END of a body that was cut in two ends no transaction.
	for i := len(before) - 1; i >= 0 && i > len(before)-maxCut; i-- {
		if before[i].isCut() {
			return before[i].line - s.line, errCut
		}
	}
	return control.Line - 1, fmt.Errorf("%s in a file that runs in a transaction of its own; remove it, or put '-- +goose NO TRANSACTION' into the file", control.Word)
}

// maxCut is how many statements the pieces of one body may be.
const maxCut = 100

// checksum does not see how lines end: Git may change that.
func checksum(text string) string {
	sum := sha256.Sum256([]byte(strings.ReplaceAll(text, "\r\n", "\n")))
	return hex.EncodeToString(sum[:])
}

// latest is the newest version of the catalog.
func (c *catalog) latest() int64 { return c.list[len(c.list)-1].version }

// find returns the migration of a version, or nil.
func (c *catalog) find(version int64) *migration {
	for _, m := range c.list {
		if m.version == version {
			return m
		}
	}
	return nil
}
