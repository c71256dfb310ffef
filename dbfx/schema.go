package dbfx

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/sergas/dbkit/dbfx/internal/engine"
)

// Schema makes and drops the objects of a database.
type Schema struct {
	sessions *Sessions
	engine   engine.Engine
	cfg      Config
}

// InitOption changes what Init does.
type InitOption func(*initOptions)

type initOptions struct{ production bool }

// InProduction lets Init work where ENV is production.
func InProduction() InitOption { return func(o *initOptions) { o.production = true } }

// Init is for development and tests: it knows no versions, so what it made once it
// never changes. Where ENV is production it is refused, unless InProduction: use
// the package migrate there.
//
// It runs the .sql files of ddl, those in folders too, in the order of their
// paths, each in a transaction of its own; a file may hold several statements.
// It runs them each time, so write CREATE TABLE IF NOT EXISTS. Several processes
// may call it at once. It is an error if there is no .sql file: the file system
// is then likely the wrong folder.
//
// A file with BEGIN, COMMIT or their like in it, such as a dump, is refused by its
// name and line before anything runs: it would end in the middle of its own
// transaction, and an error behind that would leave half of it. So is PostgreSQL's
// COPY … FROM STDIN, whose data is no SQL.
func (s *Schema) Init(ctx context.Context, ddl fs.FS, opts ...InitOption) error {
	var o initOptions
	for _, opt := range opts {
		opt(&o)
	}
	if s.cfg.IsProduction() && !o.production {
		return errors.New("dbfx: schema: Init is refused: ENV is production; use migrations, or InProduction")
	}
	if ddl == nil {
		return errors.New("dbfx: schema: want a file system, got nil")
	}
	files, err := s.read(ddl)
	if err != nil {
		return fmt.Errorf("dbfx: schema: %w", err)
	}
	if len(files) == 0 {
		return errors.New("dbfx: schema: want .sql files, got none")
	}
	for _, file := range files {
		if err := s.run(ctx, file); err != nil {
			return fmt.Errorf("dbfx: schema: %s: %w", file.name, err)
		}
	}
	return nil
}

// schemaFile is a file of SQL and its place in the file system.
type schemaFile struct{ name, text string }

// read reads all files in the order of their paths and checks them.
func (s *Schema) read(ddl fs.FS) (files []schemaFile, err error) {
	var refused []error
	err = fs.WalkDir(ddl, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || path.Ext(name) != ".sql" {
			return err
		}
		script, err := fs.ReadFile(ddl, name)
		if err != nil {
			return err
		}
		text := strings.TrimPrefix(string(script), "\uFEFF") // a byte order mark
		if err := s.engine.CheckScript(text); err != nil {
			advice := ""
			if errors.Is(err, engine.ErrControl) {
				advice = "; remove it, as each file runs in a transaction of its own"
			}
			refused = append(refused, fmt.Errorf("%s: %w%s", name, err, advice))
		}
		files = append(files, schemaFile{name, text})
		return nil
	})
	return files, errors.Join(append(refused, err)...)
}

func (s *Schema) run(ctx context.Context, file schemaFile) error {
	return s.sessions.Run(ctx, func(ctx context.Context, tx *Session) error {
		if err := s.engine.LockSchema(ctx, tx); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, file.text) // without arguments, so several statements may stand in it
		return err
	}, Durable(), Name("schema "+file.name))
}

// DropAll drops everything in the current schema that no extension owns, with all
// data and with what depends on it elsewhere. database must be the name of the
// database that answers, so that no wrong setting drops another: PostgreSQL's
// current_database(), or the base name of SQLite's file, such as "app.db", or
// ":memory:". It is refused where ENV is production or prod, in any case.
func (s *Schema) DropAll(ctx context.Context, database string) error {
	if s.cfg.IsProduction() {
		return errors.New("dbfx: DropAll is refused: ENV is production")
	}
	err := s.sessions.Run(ctx, func(ctx context.Context, tx *Session) error {
		name, err := s.engine.Name(ctx, tx)
		if err != nil {
			return err
		}
		if name != database {
			return fmt.Errorf("refused: this is the database %q, not %q", name, database)
		}
		return s.engine.DropAll(ctx, tx)
	}, Durable(), Name("drop all"))
	if err != nil {
		return fmt.Errorf("dbfx: drop all: %w", err)
	}
	return nil
}
