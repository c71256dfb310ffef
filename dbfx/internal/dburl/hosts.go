package dburl

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// hostList reads host:port,host:port as libpq does.
func hostList(raw string, emptyPort bool) ([]Host, error) {
	if raw == "" {
		return nil, nil
	}
	text, err := unquoteStrict(raw)
	if err != nil {
		return nil, err
	}
	items := strings.Split(text, ",")
	list := make([]Host, 0, len(items))
	for _, item := range items {
		h, err := parseHost(item, emptyPort)
		if err != nil {
			return nil, err
		}
		if h.Name == "" && len(items) > 1 {
			return nil, errors.New("want a host between the commas, got none")
		}
		list = append(list, h)
	}
	return list, nil
}

func parseHost(item string, emptyPort bool) (Host, error) {
	host, port, hasPort := item, "", false
	if strings.HasPrefix(item, "[") {
		address, after, ok := strings.Cut(item[1:], "]")
		if !ok || address == "" || after != "" && after[0] != ':' {
			return Host{}, errors.New("want an IPv6 address between [ and ], a port behind it")
		}
		host, port, hasPort = address, strings.TrimPrefix(after, ":"), after != ""
	} else if i := strings.LastIndexByte(item, ':'); i >= 0 {
		host, port, hasPort = item[:i], item[i+1:], true
		if strings.Contains(host, ":") && !strings.HasPrefix(host, "/") {
			return Host{}, errors.New("want an IPv6 address between [ and ]")
		}
	}
	if !hasPort || port == "" && emptyPort {
		return Host{Name: host}, nil
	}
	n, err := parsePort(port)
	return Host{host, n}, err
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
func (l *Location) applyHostArguments(hosts, ports []string, asyncpg bool) error {
	var list []Host
	integrated := len(hosts) > 1
	switch {
	case integrated:
		for _, item := range hosts {
			h, err := parseHost(item, true)
			if err != nil {
				return err
			}
			if strings.Contains(h.Name, ",") {
				return errors.New("want host=a:1&host=b:2 or host=a,b&port=1,2, got both")
			}
			list = append(list, h)
		}
	case len(hosts) == 1:
		if m := oneHost.FindStringSubmatch(hosts[0]); m != nil {
			h, err := parseHost(hosts[0], true)
			if err != nil {
				return err
			}
			list, integrated = []Host{h}, h.Port != 0
			break
		}
		for host := range strings.SplitSeq(hosts[0], ",") {
			if !strings.HasPrefix(host, "/") && strings.Count(host, ":") == 1 {
				return errors.New("want a port that is a number, and for several hosts host=a:1&host=b:2 or host=a,b&port=1,2")
			}
			list = append(list, Host{Name: strings.Trim(host, "[]")})
		}
	}
	if len(ports) > 0 && integrated {
		return errors.New("want host=a:1&host=b:2 or host=a,b&port=1,2, got both")
	}
	if err := l.mergeHosts(list, ports); err != nil {
		return err
	}
	if len(l.Hosts) == 1 && l.Hosts[0] == (Host{}) {
		l.Hosts = nil // ":" names nothing
	}
	for _, h := range l.Hosts {
		if h.Name == "" && len(l.Hosts) > 1 || strings.ContainsRune(h.Name, 0) {
			return errors.New("want a host between the commas, got none")
		}
		if asyncpg && len(list) > 1 && h.Port == 0 {
			return errors.New("want a port for each of several hosts, as asyncpg does")
		}
	}
	return nil
}

// mergeHosts puts the hosts and ports of the arguments over the authority's.
func (l *Location) mergeHosts(list []Host, ports []string) error {
	if len(list) == 1 && list[0].Port == 0 && len(l.Hosts) == 1 {
		list[0].Port = l.Hosts[0].Port
	}
	if len(list) > 0 {
		l.Hosts = list
	}
	if len(ports) == 0 {
		return nil
	}
	numbers := strings.Split(strings.Join(ports, ","), ",")
	if len(l.Hosts) == 0 {
		l.Hosts = []Host{{}}
	}
	if len(numbers) != len(l.Hosts) {
		return fmt.Errorf("want as many ports as hosts, got %d and %d", len(numbers), len(l.Hosts))
	}
	l.Hosts = slices.Clone(l.Hosts)
	for i, number := range numbers {
		if number == "" {
			continue
		}
		n, err := parsePort(number)
		if err != nil {
			return err
		}
		l.Hosts[i].Port = n
	}
	return nil
}
