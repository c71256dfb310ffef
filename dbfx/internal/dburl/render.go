package dburl

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// notForTools are the arguments that psql or pgx refuses: pgx's own, and those of
// libpq's socket and choice of hosts, which pgx would send to the server.
var notForTools = append([]string{
	"load_balance_hosts", "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout",
}, pgxArguments...)

// URL returns l as both psql and Go's tools take it. It holds the password.
func (l Location) URL() string {
	if l.Dialect == SQLite {
		return l.renderSQLite("sqlite")
	}
	args := maps.Clone(l.Args)
	for _, key := range notForTools {
		delete(args, key)
	}
	return l.render("postgres://", l.hostArgs(), args)
}

// SQLAlchemyURL returns l as SQLAlchemy and Alembic write it, for the drivers
// asyncpg and aiosqlite when async, else for SQLAlchemy's default driver. An
// argument that the driver cannot take from a URL is left out. It holds the
// password.
func (l Location) SQLAlchemyURL(async bool) string {
	switch {
	case l.Dialect == SQLite && async:
		return l.renderSQLite("sqlite+aiosqlite")
	case l.Dialect == SQLite:
		return l.renderSQLite("sqlite")
	case async:
		return l.render("postgresql+asyncpg://", l.asyncpgHosts(), l.asyncpgArgs())
	}
	args := maps.Clone(l.Args)
	for _, key := range pgxArguments {
		delete(args, key)
	}
	return l.render("postgresql://", l.hostArgs(), args)
}

// renderSQLite writes a SQLite URL. Its one argument has Python's name.
func (l Location) renderSQLite(scheme string) string {
	url := scheme + ":///" + quotePath(l.Path)
	if seconds := l.Args["timeout"]; seconds != "" {
		url += "?timeout=" + seconds
	}
	return url
}

// render writes a PostgreSQL URL. hosts are the arguments that name the hosts;
// where there are none, they stand in the URL's authority.
func (l Location) render(prefix string, hosts []argument, args map[string]string) string {
	var b strings.Builder
	b.WriteString(prefix)
	if l.User != "" || l.Password != "" {
		b.WriteString(quote(l.User))
		if l.Password != "" {
			b.WriteString(":" + quote(l.Password))
		}
		b.WriteByte('@')
	}
	if len(hosts) == 0 {
		for i, h := range l.Hosts {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(h.authority())
		}
	}
	if l.Database != "" {
		b.WriteString("/" + strings.ReplaceAll(quote(l.Database), "%2F", "/"))
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

func (h Host) authority() string {
	text := quote(h.Name)
	if strings.Contains(h.Name, ":") {
		text = "[" + strings.ReplaceAll(text, "%3A", ":") + "]"
	}
	if h.Port != 0 {
		text += ":" + strconv.Itoa(h.Port)
	}
	return text
}

// hostArgs returns host and port as arguments where a socket's directory keeps
// them out of the authority.
func (l Location) hostArgs() []argument {
	if !slices.ContainsFunc(l.Hosts, func(h Host) bool { return strings.HasPrefix(h.Name, "/") }) {
		return nil
	}
	var hosts, ports []string
	for _, h := range l.Hosts {
		hosts = append(hosts, h.Name)
		port := ""
		if h.Port != 0 {
			port = strconv.Itoa(h.Port)
		}
		ports = append(ports, port)
	}
	list := []argument{{"host", strings.Join(hosts, ",")}}
	if port := strings.Join(ports, ","); strings.Trim(port, ",") != "" {
		list = append(list, argument{"port", port})
	}
	return list
}

// asyncpgHosts names several hosts, or a socket, in asyncpg's form.
func (l Location) asyncpgHosts() []argument {
	if len(l.Hosts) < 2 {
		return l.hostArgs()
	}
	var list []argument
	for _, h := range l.Hosts {
		port := h.Port
		if port == 0 {
			port = 5432
		}
		list = append(list, argument{"host", h.Name + ":" + strconv.Itoa(port)})
	}
	return list
}

// asyncpgArgs returns the arguments that SQLAlchemy's asyncpg dialect takes.
func (l Location) asyncpgArgs() map[string]string {
	args := map[string]string{}
	for key, value := range l.Args {
		switch key {
		case "sslmode":
			args["ssl"] = value
		case "target_session_attrs":
			args[key] = value
		case "connect_timeout":
			args["timeout"] = value
		case "statement_cache_capacity":
			args["prepared_statement_cache_size"] = value
		case "default_query_exec_mode":
			args["prepared_statement_cache_size"] = "0"
		}
	}
	return args
}
