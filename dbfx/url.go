package dbfx

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// location is where a Config says to connect. It holds secrets: print Config.
type location struct {
	dialect Dialect
	fromURL bool
	unknown string // the scheme that was not known, "" when it was

	hosts    []hostPort // PostgreSQL; none is the driver's default
	user     string
	password string
	database string
	args     map[string]string // by libpq's name, or pgx's where libpq has none

	path string // SQLite; memoryPath for a database in memory
}

type hostPort struct {
	host string // a name, an address, or a socket's directory
	port int    // 0 is the default
}

const memoryPath = ":memory:"

// location reads c; it touches nothing outside.
func (c Config) location() (location, error) {
	if url := strings.TrimSpace(c.DatabaseURL.Reveal()); url != "" {
		loc, err := parseURL(url)
		if err != nil {
			return location{}, err
		}
		if loc.unknown != "" {
			loc.path = sqlitePath(c.SQLitePath)
		}
		return loc.withSSLMode(c.SSLMode), nil
	}
	if c.Password.IsEmpty() {
		return location{dialect: SQLite, path: sqlitePath(c.SQLitePath)}, nil
	}
	loc := location{
		dialect: Postgres, user: c.User, password: c.Password.Reveal(), database: c.Name, args: map[string]string{},
	}
	for host := range strings.SplitSeq(c.Host, ",") {
		loc.hosts = append(loc.hosts, hostPort{strings.TrimSpace(host), c.Port})
	}
	return loc.withSSLMode(c.SSLMode), nil
}

// withSSLMode sets mode where the URL has none.
func (l location) withSSLMode(mode string) location {
	if l.dialect == Postgres && l.args["sslmode"] == "" && mode != "" {
		l.args["sslmode"] = mode
	}
	return l
}

// scheme is a URL's: SQLAlchemy's \w and +, and RFC 3986's other characters.
var scheme = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9_+.-]*)://`)

// schemeDialect returns the dialect that the scheme of url asks for.
func schemeDialect(url string) Dialect {
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

// parseURL reads a URL as SQLAlchemy and libpq do; what both accept and read
// differently is refused. No error shows any part of the URL but its scheme and
// the name of an argument: net/url's and pgx's errors quote the password.
func parseURL(url string) (location, error) {
	m := scheme.FindStringSubmatch(url)
	if m == nil {
		if strings.ContainsAny(url[:1], `"'`) {
			return location{}, errors.New(`want a URL, got one in quotes`)
		}
		return location{}, errors.New(`want a URL such as postgresql://user:password@host/name or sqlite:///./data/app.db, got a text that does not begin with a scheme and "://"`)
	}
	if strings.ContainsRune(url, 0) {
		return location{}, errNUL
	}
	base, driver, hasDriver := strings.Cut(strings.ToLower(m[1]), "+")
	rest := url[len(m[0]):]
	switch base {
	case "postgresql", "postgres":
		return parsePostgres(rest, hasDriver, driver == "asyncpg")
	case "sqlite":
		return parseSQLite(rest)
	}
	return location{dialect: SQLite, fromURL: true, unknown: m[1]}, nil
}

var errNUL = errors.New("want no NUL byte")

// parseSQLite reads what follows sqlite://.
func parseSQLite(rest string) (location, error) {
	loc := location{dialect: SQLite, fromURL: true}
	rawPath, rawQuery, _ := strings.Cut(rest, "?")
	if rawPath != "" && rawPath[0] != '/' {
		return loc, errors.New("want sqlite:///relative/path, sqlite:////absolute/path or sqlite:///:memory:, got a host")
	}
	loc.path = unquote(strings.TrimPrefix(rawPath, "/"))
	if strings.ContainsRune(loc.path, 0) {
		return loc, errNUL
	}
	query, err := parseQuery(rawQuery)
	if err != nil {
		return loc, err
	}
	for _, arg := range query {
		switch {
		case arg.key == "mode" && arg.value == "memory":
			loc.path = memoryPath
		case arg.key == "uri", arg.key == "cache", arg.key == "check_same_thread":
			// They tell Python's driver what is always so here.
		default:
			return loc, fmt.Errorf("unsupported argument %q; the SQLITE_ settings hold what can be set", arg.key)
		}
	}
	if loc.path == "" {
		loc.path = memoryPath
	}
	loc.path = sqlitePath(loc.path)
	return loc, nil
}

// sqlitePath gives every spelling of a database in memory as memoryPath.
func sqlitePath(path string) string {
	name, query, _ := strings.Cut(path, "?")
	if name == memoryPath || name == "file:"+memoryPath ||
		strings.HasPrefix(name, "file:") && slices.Contains(strings.Split(query, "&"), "mode=memory") {
		return memoryPath
	}
	return path
}

// checkSQLitePath refuses a path that SQLite would read as something else.
func checkSQLitePath(path string) error {
	switch {
	case path == "":
		return errors.New("want a path or :memory:, got none")
	case strings.ContainsRune(path, 0):
		return errNUL // SQLite would cut the name there
	case strings.HasPrefix(path, "file:"):
		return errors.New("want a path, got a file: URI")
	case strings.HasSuffix(path, "/"):
		return wanted("the path of a file", path)
	}
	return nil
}

// URL returns where c connects in the form of Go's tools and psql:
// postgres://user:password@host:port/name?sslmode=… or sqlite:///path. It holds
// the password. It is empty for a Config that Validate refuses.
func (c Config) URL() string {
	loc, err := c.location()
	if err != nil {
		return ""
	}
	return loc.url()
}

func (l location) url() string {
	if l.dialect == SQLite {
		return "sqlite:///" + quotePath(l.path)
	}
	return l.render("postgres://", l.hostArgs(), l.args)
}

// SQLAlchemyURL returns where c connects as SQLAlchemy and Alembic write it, for
// the drivers asyncpg and aiosqlite when async, else for SQLAlchemy's default
// driver. An argument that the driver cannot take from a URL is left out. It
// holds the password, and is empty for a Config that Validate refuses.
func (c Config) SQLAlchemyURL(async bool) string {
	loc, err := c.location()
	switch {
	case err != nil:
		return ""
	case loc.dialect == SQLite && async:
		return "sqlite+aiosqlite:///" + quotePath(loc.path)
	case loc.dialect == SQLite:
		return "sqlite:///" + quotePath(loc.path)
	case async:
		return loc.render("postgresql+asyncpg://", loc.asyncpgHosts(), loc.asyncpgArgs())
	}
	args := maps.Clone(loc.args)
	for _, key := range pgxArguments {
		delete(args, key)
	}
	return loc.render("postgresql://", loc.hostArgs(), args)
}

// render writes a PostgreSQL URL. hosts are the arguments that name the hosts;
// where there are none, they stand in the URL's authority.
func (l location) render(prefix string, hosts []argument, args map[string]string) string {
	var b strings.Builder
	b.WriteString(prefix)
	if l.user != "" || l.password != "" {
		b.WriteString(quote(l.user))
		if l.password != "" {
			b.WriteString(":" + quote(l.password))
		}
		b.WriteByte('@')
	}
	if len(hosts) == 0 {
		for i, h := range l.hosts {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(h.authority())
		}
	}
	if l.database != "" {
		b.WriteString("/" + strings.ReplaceAll(quote(l.database), "%2F", "/"))
	} else if len(hosts)+len(args) > 0 {
		b.WriteByte('/')
	}
	all := hosts
	for _, key := range slices.Sorted(maps.Keys(args)) {
		all = append(all, argument{key, args[key]})
	}
	for i, arg := range all {
		b.WriteByte("?&"[min(i, 1)])
		b.WriteString(quote(arg.key) + "=" + quote(arg.value))
	}
	return b.String()
}

func (h hostPort) authority() string {
	text := quote(h.host)
	if strings.Contains(h.host, ":") {
		text = "[" + strings.ReplaceAll(text, "%3A", ":") + "]"
	}
	if h.port != 0 {
		text += ":" + strconv.Itoa(h.port)
	}
	return text
}

// hostArgs returns host and port as arguments where a socket's directory keeps
// them out of the authority.
func (l location) hostArgs() []argument {
	if !slices.ContainsFunc(l.hosts, func(h hostPort) bool { return strings.HasPrefix(h.host, "/") }) {
		return nil
	}
	var hosts, ports []string
	for _, h := range l.hosts {
		hosts = append(hosts, h.host)
		port := ""
		if h.port != 0 {
			port = strconv.Itoa(h.port)
		}
		ports = append(ports, port)
	}
	list := []argument{{"host", strings.Join(hosts, ",")}}
	if port := strings.Join(ports, ","); strings.Trim(port, ",") != "" {
		list = append(list, argument{"port", port})
	}
	return list
}
