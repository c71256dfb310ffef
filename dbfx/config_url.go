package dbfx

import (
	"strings"
	"time"

	"github.com/sergas/dbkit/dbfx/internal/dburl"
)

// Dialect names the kind of database.
type Dialect string

// The two dialects. Their texts are OpenTelemetry's db.system.name.
const (
	Postgres = Dialect(dburl.Postgres)
	SQLite   = Dialect(dburl.SQLite)
)

// Dialect says which database the settings name: the URL's scheme decides, then
// whether there is a password.
func (c Config) Dialect() Dialect {
	loc, err := c.location()
	if err != nil {
		return Dialect(dburl.SchemeDialect(c.DatabaseURL.Reveal()))
	}
	return Dialect(loc.Dialect)
}

// URL returns where c connects as psql, golang-migrate and Go's other tools take
// it: postgres://user:password@host:port/name?sslmode=…, without the arguments
// that one of them refuses, or sqlite:////absolute/path. goose's CLI and sqlite3
// want [Config.File] instead, which is a path; golang-migrate too, behind
// "sqlite://", where the path has a space or a %. Its postgres driver knows fewer
// arguments than its pgx5 driver, which wants pgx5:// for the scheme.
//
// It holds the password. It is empty for a Config that Validate refuses.
func (c Config) URL() string {
	loc, err := c.absolute()
	if err != nil {
		return ""
	}
	return loc.URL()
}

// SQLAlchemyURL returns where c connects as SQLAlchemy and Alembic write it, for
// the drivers asyncpg and aiosqlite when async, else for SQLAlchemy's default
// driver. An argument that the driver cannot take from a URL is left out. The path
// of a SQLite file is absolute: Alembic may run in another directory.
//
// It holds the password, and is empty for a Config that Validate refuses.
func (c Config) SQLAlchemyURL(async bool) string {
	loc, err := c.absolute()
	if err != nil {
		return ""
	}
	return loc.SQLAlchemyURL(async)
}

// absolute is location with an absolute path.
func (c Config) absolute() (dburl.Location, error) {
	loc, err := c.location()
	if file := c.File(); file != "" {
		loc.Path = file
	}
	return loc, err
}

// busyTimeout is SQLITE_BUSY_TIMEOUT, unless the URL has Python's timeout.
func (c Config) busyTimeout() time.Duration {
	loc, err := c.location()
	if err != nil || loc.Dialect != dburl.SQLite || loc.Args["timeout"] == "" {
		return c.SQLiteBusyTimeout
	}
	d, _ := parseDuration(loc.Args["timeout"])
	return d
}

// location reads c; it touches nothing outside.
func (c Config) location() (dburl.Location, error) {
	if c.hasURL() {
		loc, err := dburl.Parse(strings.TrimSpace(c.DatabaseURL.Reveal()))
		if err != nil {
			return dburl.Location{}, err
		}
		if loc.Unknown != "" {
			loc.Path = dburl.Path(c.SQLitePath)
		}
		return loc.WithSSLMode(string(c.SSLMode)), nil
	}
	if c.Password.IsEmpty() {
		return dburl.Location{Dialect: dburl.SQLite, Path: dburl.Path(c.SQLitePath)}, nil
	}
	loc := dburl.Location{
		Dialect: dburl.Postgres, User: c.User, Password: c.Password.Reveal(), Database: c.Name, Args: map[string]string{},
	}
	for host := range strings.SplitSeq(c.Host, ",") {
		loc.Hosts = append(loc.Hosts, dburl.Host{Name: strings.TrimSpace(host), Port: c.Port})
	}
	return loc.WithSSLMode(string(c.SSLMode)), nil
}

// hasURL reports whether a URL says where to connect, and not the parts.
func (c Config) hasURL() bool { return strings.TrimSpace(c.DatabaseURL.Reveal()) != "" }
