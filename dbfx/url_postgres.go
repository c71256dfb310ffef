package dbfx

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// authority is SQLAlchemy's grammar of what follows the scheme: a password runs
// to the first @, and so may hold / and ?. The host is read by hostList.
var authority = regexp.MustCompile(`(?s)^(?:([^:/?]*)(?::([^@]*))?@)?([^/?]*)(?:/([^?]*))?(?:\?(.*))?$`)

var errAmbiguous = errors.New(`ambiguous "@", "/" or "?": percent-encode them in the user and the password (%40, %2F, %3F)`)

// parsePostgres reads what follows postgresql://. hasDriver says that the scheme
// named a driver of SQLAlchemy, whose stricter rules then hold.
func parsePostgres(rest string, hasDriver, asyncpg bool) (location, error) {
	loc := location{dialect: Postgres, fromURL: true, args: map[string]string{}}
	m := authority.FindStringSubmatch(rest)
	if m == nil {
		return loc, errors.New("want postgresql://user:password@host:port/name")
	}
	rawUser, rawPassword, rawHosts, rawDatabase, rawQuery := m[1], m[2], m[3], m[4], m[5]
	if err := checkAmbiguous(rest, rawPassword, rawHosts, rawDatabase); err != nil {
		return loc, err
	}
	loc.user, loc.password, loc.database = unquote(rawUser), unquote(rawPassword), unquote(rawDatabase)
	var err error
	if loc.hosts, err = hostList(rawHosts, !hasDriver); err != nil {
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
	if strings.ContainsRune(loc.user+loc.password+loc.database, 0) {
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

func isNumber(text string) bool {
	_, err := strconv.ParseUint(text, 10, 32)
	return err == nil
}

// hostList reads host:port,host:port as libpq does.
func hostList(raw string, emptyPort bool) ([]hostPort, error) {
	if raw == "" {
		return nil, nil
	}
	text, err := unquoteStrict(raw)
	if err != nil {
		return nil, err
	}
	items := strings.Split(text, ",")
	list := make([]hostPort, 0, len(items))
	for _, item := range items {
		h, err := parseHost(item, emptyPort)
		if err != nil {
			return nil, err
		}
		if h.host == "" && len(items) > 1 {
			return nil, errors.New("want a host between the commas, got none")
		}
		list = append(list, h)
	}
	return list, nil
}

func parseHost(item string, emptyPort bool) (hostPort, error) {
	host, port, hasPort := item, "", false
	if strings.HasPrefix(item, "[") {
		address, after, ok := strings.Cut(item[1:], "]")
		if !ok || address == "" || after != "" && after[0] != ':' {
			return hostPort{}, errors.New("want an IPv6 address between [ and ], a port behind it")
		}
		host, port, hasPort = address, strings.TrimPrefix(after, ":"), after != ""
	} else if i := strings.LastIndexByte(item, ':'); i >= 0 {
		host, port, hasPort = item[:i], item[i+1:], true
		if strings.Contains(host, ":") && !strings.HasPrefix(host, "/") {
			return hostPort{}, errors.New("want an IPv6 address between [ and ]")
		}
	}
	if !hasPort || port == "" && emptyPort {
		return hostPort{host: host}, nil
	}
	n, err := parsePort(port)
	return hostPort{host, n}, err
}

func parsePort(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > 65535 || text[0] == '+' {
		return 0, errors.New("want a port from 1 to 65535")
	}
	return n, nil
}

// oneHost is the single host argument that may carry its port (SQLAlchemy's
// _split_multihost_from_url).
var oneHost = regexp.MustCompile(`^([A-Za-z0-9.-]*):(\d*)$`)

// applyHostArguments applies ?host= and ?port=: either host=a:1&host=b:2 or
// host=a,b&port=1,2, not both.
func (l *location) applyHostArguments(hosts, ports []string, asyncpg bool) error {
	var list []hostPort
	integrated := len(hosts) > 1
	switch {
	case integrated:
		for _, item := range hosts {
			h, err := parseHost(item, true)
			if err != nil {
				return err
			}
			list = append(list, h)
		}
	case len(hosts) == 1:
		if m := oneHost.FindStringSubmatch(hosts[0]); m != nil {
			h, err := parseHost(hosts[0], true)
			if err != nil {
				return err
			}
			list, integrated = []hostPort{h}, h.port != 0
			break
		}
		for host := range strings.SplitSeq(hosts[0], ",") {
			if !strings.HasPrefix(host, "/") && strings.Count(host, ":") == 1 {
				return errors.New("want a port that is a number, and for several hosts host=a:1&host=b:2 or host=a,b&port=1,2")
			}
			list = append(list, hostPort{host: strings.Trim(host, "[]")})
		}
	}
	if len(ports) > 0 && integrated {
		return errors.New("want host=a:1&host=b:2 or host=a,b&port=1,2, got both")
	}
	if err := l.mergeHosts(list, ports); err != nil {
		return err
	}
	if len(l.hosts) == 1 && l.hosts[0] == (hostPort{}) {
		l.hosts = nil // ":" names nothing
	}
	for _, h := range l.hosts {
		if h.host == "" && len(l.hosts) > 1 || strings.ContainsRune(h.host, 0) {
			return errors.New("want a host between the commas, got none")
		}
		if asyncpg && len(list) > 1 && h.port == 0 {
			return errors.New("want a port for each of several hosts, as asyncpg does")
		}
	}
	return nil
}

// mergeHosts puts the hosts and ports of the arguments over the authority's.
func (l *location) mergeHosts(list []hostPort, ports []string) error {
	if len(list) == 1 && list[0].port == 0 && len(l.hosts) == 1 {
		list[0].port = l.hosts[0].port
	}
	if len(list) > 0 {
		l.hosts = list
	}
	if len(ports) == 0 {
		return nil
	}
	numbers := strings.Split(strings.Join(ports, ","), ",")
	if len(l.hosts) == 0 {
		l.hosts = []hostPort{{}}
	}
	if len(numbers) != len(l.hosts) {
		return fmt.Errorf("want as many ports as hosts, got %d and %d", len(numbers), len(l.hosts))
	}
	l.hosts = slices.Clone(l.hosts)
	for i, number := range numbers {
		if number == "" {
			continue
		}
		n, err := parsePort(number)
		if err != nil {
			return err
		}
		l.hosts[i].port = n
	}
	return nil
}
