// Package dburl reads a database URL as SQLAlchemy, libpq and asyncpg write it,
// and writes it again for each of them. It looks at nothing but the text.
package dburl

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Dialect is the kind of database that a URL asks for.
type Dialect string

// The two dialects. Their texts are OpenTelemetry's db.system.name.
const (
	Postgres Dialect = "postgresql"
	SQLite   Dialect = "sqlite"
)

// Location is where to connect. It holds the password: never print one.
type Location struct {
	Dialect Dialect
	Unknown string // the scheme that was not known, and so means SQLite; "" when it was

	Hosts    []Host // PostgreSQL; none is the driver's default
	User     string
	Password string
	Database string
	Args     map[string]string // by libpq's name, or pgx's where libpq has none; SQLite: timeout, in seconds

	Path string // SQLite; Memory for a database in memory
}

// Host is one server of PostgreSQL.
type Host struct {
	Name string // a name, an address, or a socket's directory
	Port int    // 0 is the default
}

// Memory is the path of every database in memory.
const Memory = ":memory:"

// scheme is a URL's: SQLAlchemy's \w and +, and RFC 3986's other characters.
var scheme = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9_+.-]*)://`)

// SchemeDialect returns the dialect that the scheme of url asks for.
func SchemeDialect(url string) Dialect {
	m := scheme.FindStringSubmatch(strings.TrimSpace(url))
	if m == nil {
		return SQLite
	}
	base, _, _ := strings.Cut(strings.ToLower(m[1]), "+")
	if base == "postgresql" || base == "postgres" {
		return Postgres
	}
	return SQLite
}

// Parse reads a URL as SQLAlchemy and libpq do; what both accept and read
// differently is refused. No error shows any part of the URL but its scheme and
// the name of an argument: net/url's and pgx's errors quote the password.
func Parse(url string) (Location, error) {
	m := scheme.FindStringSubmatch(url)
	if m == nil {
		if strings.HasPrefix(url, `"`) || strings.HasPrefix(url, "'") {
			return Location{}, errors.New(`want a URL, got one in quotes`)
		}
		return Location{}, errors.New(`want a URL such as postgresql://user:password@host/name or sqlite:///./data/app.db, got a text that does not begin with a scheme and "://"`)
	}
	if strings.ContainsRune(url, 0) {
		return Location{}, errNUL
	}
	base, driver, hasDriver := strings.Cut(strings.ToLower(m[1]), "+")
	rest := url[len(m[0]):]
	switch base {
	case "postgresql", "postgres":
		return parsePostgres(rest, hasDriver, driver == "asyncpg")
	case "sqlite":
		return parseSQLite(rest)
	}
	return Location{Dialect: SQLite, Unknown: m[1]}, nil
}

var errNUL = errors.New("want no NUL byte")

// authority is SQLAlchemy's grammar of what follows the scheme: a password runs
// to the first @, and so may hold / and ?. The host is read by hostList.
var authority = regexp.MustCompile(`(?s)^(?:([^:/?]*)(?::([^@]*))?@)?([^/?]*)(?:/([^?]*))?(?:\?(.*))?$`)

var errAmbiguous = errors.New(`ambiguous "@", "/" or "?": percent-encode them in the user and the password (%40, %2F, %3F)`)

// parsePostgres reads what follows postgresql://. hasDriver says that the scheme
// named a driver of SQLAlchemy, whose stricter rules then hold.
func parsePostgres(rest string, hasDriver, asyncpg bool) (Location, error) {
	loc := Location{Dialect: Postgres, Args: map[string]string{}}
	m := authority.FindStringSubmatch(rest)
	if m == nil {
		return loc, errors.New("want postgresql://user:password@host:port/name")
	}
	rawUser, rawPassword, rawHosts, rawDatabase, rawQuery := m[1], m[2], m[3], m[4], m[5]
	if err := checkAmbiguous(rest, rawPassword, rawHosts, rawDatabase); err != nil {
		return loc, err
	}
	loc.User, loc.Password, loc.Database = unquote(rawUser), unquote(rawPassword), unquote(rawDatabase)
	var err error
	if loc.Hosts, err = hostList(rawHosts, !hasDriver); err != nil {
		return loc, err
	}
	query, err := parseQuery(rawQuery)
	if err != nil {
		return loc, err
	}
	var hosts, ports []string
	for _, arg := range query {
		switch arg.key {
		case "host":
			hosts = append(hosts, arg.value)
		case "port":
			ports = append(ports, arg.value)
		default:
			if err := loc.translate(arg); err != nil {
				return loc, err
			}
		}
	}
	if err := loc.applyHostArguments(hosts, ports, asyncpg); err != nil {
		return loc, err
	}
	if strings.ContainsRune(loc.User+loc.Password+loc.Database, 0) {
		return loc, errNUL
	}
	return loc, nil
}

// checkAmbiguous refuses what could put the tail of a password into the host,
// the database or an argument, and so into an error of the driver or of DNS.
func checkAmbiguous(rest, password, hosts, database string) error {
	if strings.Contains(hosts, "@") || password != "" && strings.Contains(database, "@") {
		return errAmbiguous
	}
	end := strings.IndexAny(rest, "/?")
	if end < 0 || !strings.ContainsAny(password, "/?") {
		return nil
	}
	// libpq ends the authority at the first slash. Where it would find a host
	// and a port there, the two grammars read the same text differently.
	if _, port, _ := strings.Cut(rest[:end], ":"); port == "" || isNumber(port) {
		return errAmbiguous
	}
	return nil
}

// parseSQLite reads what follows sqlite://.
func parseSQLite(rest string) (Location, error) {
	loc := Location{Dialect: SQLite}
	rawPath, rawQuery, _ := strings.Cut(rest, "?")
	if rawPath != "" && rawPath[0] != '/' {
		return loc, errors.New("want sqlite:///relative/path, sqlite:////absolute/path or sqlite:///:memory:, got a host")
	}
	loc.Path = unquote(strings.TrimPrefix(rawPath, "/"))
	if strings.ContainsRune(loc.Path, 0) {
		return loc, errNUL
	}
	query, err := parseQuery(rawQuery)
	if err != nil {
		return loc, err
	}
	for _, arg := range query {
		if err := loc.translateSQLite(arg); err != nil {
			return loc, err
		}
	}
	if loc.Path == "" {
		loc.Path = Memory
	}
	loc.Path = Path(loc.Path)
	return loc, nil
}

// Path gives every spelling of a database in memory as Memory.
func Path(path string) string {
	name, query, _ := strings.Cut(path, "?")
	if name == Memory || name == "file:"+Memory ||
		strings.HasPrefix(name, "file:") && slices.Contains(strings.Split(query, "&"), "mode=memory") {
		return Memory
	}
	return path
}

// CheckPath refuses a path that SQLite would read as something else.
func CheckPath(path string) error {
	switch {
	case path == "":
		return errors.New("want a path or :memory:, got none")
	case strings.ContainsRune(path, 0):
		return errNUL // SQLite would cut the name there
	case strings.HasPrefix(path, "file:"):
		return errors.New("want a path, got a file: URI")
	case strings.HasSuffix(path, "/"):
		return fmt.Errorf("want the path of a file, got %q", path)
	}
	return nil
}
