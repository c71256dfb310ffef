package dbfx

import (
	"errors"
	"fmt"
	"strings"

	"github.com/sergas/dbkit/dbfx/internal/dburl"
)

// Validate reports every fault at once, each with the name of its variable. It
// looks at nothing outside c.
func (c Config) Validate() error {
	return joinFaults(c.validate(func(name string) string { return name }))
}

// validate returns the faults; variable gives the full name of a variable.
func (c Config) validate(variable func(name string) string) []error {
	var list []error
	add := func(name string, err error) {
		if err != nil {
			list = append(list, fmt.Errorf("%s: %w", variable(name), err))
		}
	}
	for _, s := range settings {
		add(s.name, s.check(&c))
	}
	loc, err := c.location()
	if err != nil {
		add("DATABASE_URL", err)
		return list
	}
	add("DATABASE_REPLICA_URL", checkBeside(c.DatabaseReplicaURL, loc))
	add("DATABASE_MIGRATION_URL", checkBeside(c.DatabaseMigrationURL, loc))
	if loc.Dialect == dburl.SQLite {
		name := "DATABASE_PATH"
		if c.hasURL() {
			name = "DATABASE_URL"
		}
		add(name, dburl.CheckPath(loc.Path))
		return list
	}
	if !c.hasURL() {
		add("DATABASE_HOST", checkPart(c.Host))
		add("DATABASE_NAME", checkPart(c.Name))
		add("DATABASE_USER", checkPart(c.User))
		if strings.ContainsRune(c.Password.Reveal(), 0) {
			add("DATABASE_PASSWORD", errors.New("want no NUL byte"))
		}
	}
	return list
}

// checkBeside refuses a second URL that names no PostgreSQL, or one beside a
// SQLite, which is a single file.
func checkBeside(second Secret, first dburl.Location) error {
	url := strings.TrimSpace(second.Reveal())
	if url == "" {
		return nil
	}
	loc, err := dburl.Parse(url)
	if err == nil && (loc.Dialect != dburl.Postgres || first.Dialect != dburl.Postgres) {
		err = errors.New("want a PostgreSQL beside a PostgreSQL")
	}
	return err
}

func checkPart(text string) error {
	if text == "" || strings.ContainsRune(text, 0) {
		return wanted("a text without NUL bytes", text)
	}
	return nil
}

// faults is the error of a Config: a line for each fault.
type faults []error

func joinFaults(list []error) error {
	if len(list) == 0 {
		return nil
	}
	return faults(list)
}

func (f faults) Error() string {
	lines := make([]string, len(f))
	for i, err := range f {
		lines[i] = "dbfx: config: " + err.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap lets errors.Is and errors.As see each fault.
func (f faults) Unwrap() []error { return f }
