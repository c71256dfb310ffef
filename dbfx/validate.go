package dbfx

import (
	"errors"
	"fmt"
	"strings"
)

// LoadConfig reads the environment and validates it. Its error lists every
// fault, a line each, and shows no secret.
func LoadConfig() (Config, error) { return LoadNamedConfig("") }

// LoadNamedConfig reads the settings of the database called name, the one that
// [Named] provides: NAME_DATABASE_URL, NAME_POOL_SIZE and so on. Where to connect
// is never taken from the unprefixed variables; its default is SQLite at
// ./data/<name>.db. ENV and the logging settings are shared; the rest falls back
// to the unprefixed variable. The empty name is the default database.
func LoadNamedConfig(name string) (Config, error) {
	loaded, err := load(name)
	return loaded.config, err
}

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
	add("DATABASE_REPLICA_URL", c.checkReplica(loc))
	if loc.dialect == SQLite {
		name := "DATABASE_PATH"
		if loc.fromURL {
			name = "DATABASE_URL"
		}
		add(name, checkSQLitePath(loc.path))
		return list
	}
	if !loc.fromURL {
		add("DATABASE_HOST", checkPart(c.Host))
		add("DATABASE_NAME", checkPart(c.Name))
		add("DATABASE_USER", checkPart(c.User))
		if strings.ContainsRune(c.Password.Reveal(), 0) {
			add("DATABASE_PASSWORD", errors.New("want no NUL byte"))
		}
	}
	return list
}

func (c Config) checkReplica(primary location) error {
	url := strings.TrimSpace(c.DatabaseReplicaURL.Reveal())
	if url == "" {
		return nil
	}
	replica, err := parseURL(url)
	if err == nil && (replica.dialect != Postgres || primary.dialect != Postgres) {
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

// Dialect says which database the settings name: the URL's scheme decides, then
// whether there is a password.
func (c Config) Dialect() Dialect {
	loc, err := c.location()
	if err != nil {
		return schemeDialect(c.DatabaseURL.Reveal())
	}
	return loc.dialect
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
