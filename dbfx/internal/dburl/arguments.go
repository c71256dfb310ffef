package dburl

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// argument is one key=value of a URL.
type argument struct{ key, value string }

// SSLModes are libpq's, weakest first.
var SSLModes = []string{"disable", "allow", "prefer", "require", "verify-ca", "verify-full"}

// pgxArguments are the names that only pgx knows; psycopg must not see them.
var pgxArguments = []string{"default_query_exec_mode", "statement_cache_capacity", "description_cache_capacity"}

// choices are the arguments with a closed list of values. They go to pgx as
// they are.
var choices = map[string][]string{
	"target_session_attrs":    {"any", "read-write", "read-only", "primary", "standby", "prefer-standby"},
	"channel_binding":         {"disable", "prefer", "require"},
	"sslnegotiation":          {"postgres", "direct"},
	"sslsni":                  {"0", "1"},
	"default_query_exec_mode": {"cache_statement", "cache_describe", "describe_exec", "exec", "simple_protocol"},
}

// free are the arguments that go to pgx as they are.
var free = []string{"sslrootcert", "sslcert", "sslkey", "sslpassword", "application_name", "require_auth"}

// numbers are the arguments that are whole numbers. Those of the socket go to the
// dialer: pgx would send them to the server.
var numbers = []string{
	"connect_timeout", "statement_cache_capacity", "description_cache_capacity",
	"keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout",
}

// moot are arguments that ask for what is so anyway, with the values that do.
var moot = map[string][]string{
	"gssencmode":         {"disable", "prefer"},
	"sslcompression":     {"0", "1"},
	"load_balance_hosts": {"disable"},
	"client_encoding":    {"utf8", "utf-8", "auto"},
}

// translators are the arguments that pgx has another name or form for.
var translators = map[string]func(l *Location, value string) error{
	"sslmode":  (*Location).setSSLMode,
	"ssl":      (*Location).setSSL,
	"user":     func(l *Location, v string) error { l.User = v; return nil },
	"password": func(l *Location, v string) error { l.Password = v; return nil },
	"dbname":   func(l *Location, v string) error { l.Database = v; return nil },
	"database": func(l *Location, v string) error { l.Database = v; return nil },
	"options":  func(l *Location, v string) error { l.addOption(v); return nil },
	"timeout": func(l *Location, v string) error { // asyncpg's connect_timeout
		seconds, err := positive(v)
		l.Args["connect_timeout"] = strconv.Itoa(int(math.Ceil(seconds)))
		return err
	},
	"command_timeout": func(l *Location, v string) error { // asyncpg's statement_timeout
		seconds, err := positive(v)
		l.addOption("-c statement_timeout=" + strconv.Itoa(int(seconds*1000)))
		return err
	},
	"server_settings":               (*Location).setServerSettings,
	"statement_cache_size":          (*Location).setStatementCache,
	"prepared_statement_cache_size": (*Location).setStatementCache,
}

// translate takes over one argument of asyncpg, psycopg, libpq or pgx. What it
// does not know it refuses: pgx would send it to the server as a setting.
func (l *Location) translate(arg argument) error {
	if f := translators[arg.key]; f != nil {
		if arg.value == "" {
			return nil // SQLAlchemy drops a blank value
		}
		return named(arg.key, f(l, arg.value))
	}
	if allowed, ok := moot[arg.key]; ok && (arg.value == "" || slices.Contains(allowed, strings.ToLower(arg.value))) {
		return nil
	}
	if arg.key == "load_balance_hosts" && arg.value == "random" {
		l.Args[arg.key] = arg.value
		return nil
	}
	if allowed, ok := choices[arg.key]; ok {
		if arg.value != "" && !slices.Contains(allowed, arg.value) {
			return named(arg.key, errors.New("want one of "+strings.Join(allowed, ", ")))
		}
		return l.set(arg)
	}
	if slices.Contains(numbers, arg.key) {
		if arg.value != "" && !isNumber(arg.value) {
			return named(arg.key, errors.New("want a whole number"))
		}
		return l.set(arg)
	}
	if slices.Contains(free, arg.key) {
		return l.set(arg)
	}
	if moot[arg.key] != nil {
		return named(arg.key, errors.New("want one of "+strings.Join(moot[arg.key], ", ")))
	}
	return fmt.Errorf("unsupported argument %q", arg.key)
}

// translateSQLite takes over one argument of Python's sqlite3 and aiosqlite. A
// blank value is dropped, as SQLAlchemy does.
func (l *Location) translateSQLite(arg argument) error {
	switch arg.key {
	case "mode":
		if arg.value != "memory" {
			return named(arg.key, errors.New("want memory; a file is opened to read and write, and made if it is missing"))
		}
		l.Path = Memory
	case "timeout":
		if arg.value == "" {
			return nil
		}
		seconds, err := positive(arg.value)
		if err != nil {
			return named(arg.key, err)
		}
		return l.set(argument{arg.key, strconv.FormatFloat(seconds, 'f', -1, 64)})
	case "check_same_thread", "uri":
		if !slices.Contains(booleans, strings.ToLower(arg.value)) {
			return named(arg.key, errors.New("want true or false"))
		}
	case "cache": // shared or private: only a database in memory has one to share
	default:
		return fmt.Errorf("unsupported argument %q; the SQLITE_ settings hold what can be set", arg.key)
	}
	return nil
}

// booleans are SQLAlchemy's words. What they say here is so anyway: connections
// are not bound to threads, and the path is no URI.
var booleans = []string{"", "true", "yes", "on", "y", "t", "1", "false", "no", "off", "n", "f", "0"}

func named(key string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("argument %q: %w", key, err)
}

func (l *Location) set(arg argument) error {
	if arg.value == "" {
		return nil
	}
	if old, ok := l.Args[arg.key]; ok && old != arg.value {
		return fmt.Errorf("argument %q is given twice", arg.key)
	}
	if l.Args == nil {
		l.Args = map[string]string{}
	}
	l.Args[arg.key] = arg.value
	return nil
}

func (l *Location) setSSLMode(mode string) error {
	if !slices.Contains(SSLModes, mode) {
		return errors.New("want one of " + strings.Join(SSLModes, ", "))
	}
	if old, ok := l.Args["sslmode"]; ok && old != mode {
		return errors.New("ssl and sslmode conflict")
	}
	l.Args["sslmode"] = mode
	return nil
}

// WithSSLMode sets mode where l is a PostgreSQL whose URL has none.
func (l Location) WithSSLMode(mode string) Location {
	if l.Dialect == Postgres && l.Args["sslmode"] == "" && mode != "" {
		l.Args["sslmode"] = mode
	}
	return l
}

// setSSL takes asyncpg's ssl.
func (l *Location) setSSL(mode string) error {
	switch strings.ToLower(mode) {
	case "true", "1":
		mode = "require"
	case "false", "0":
		mode = "disable"
	}
	return l.setSSLMode(mode)
}

// setStatementCache takes asyncpg's cache size; 0 is its recipe for PgBouncer.
func (l *Location) setStatementCache(size string) error {
	n, err := strconv.ParseUint(size, 10, 31)
	if err != nil {
		return errors.New("want a whole number of at least 0")
	}
	if n == 0 {
		return l.set(argument{"default_query_exec_mode", "exec"})
	}
	return l.set(argument{"statement_cache_capacity", strconv.FormatUint(n, 10)})
}

// setServerSettings takes asyncpg's server_settings, a JSON object.
func (l *Location) setServerSettings(text string) error {
	var values map[string]string
	if err := json.Unmarshal([]byte(text), &values); err != nil {
		return errors.New("want a JSON object of texts")
	}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if key == "" || strings.ContainsAny(key, " =\\") {
			return errors.New("want names of settings")
		}
		l.addOption("-c " + key + "=" + escapeOption.Replace(values[key]))
	}
	return nil
}

// escapeOption writes a value of options: the server splits them at spaces.
var escapeOption = strings.NewReplacer(`\`, `\\`, " ", `\ `)

func (l *Location) addOption(text string) {
	if old := l.Args["options"]; old != "" {
		text = old + " " + text
	}
	l.Args["options"] = text
}

// longest is the most seconds of a timeout, the bound of every setting of dbfx.
const longest = math.MaxInt32 / 1000.0

func positive(text string) (float64, error) {
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || !(n >= 0 && n <= longest) {
		return 0, errors.New("want seconds of at least 0")
	}
	return n, nil
}

func isNumber(text string) bool {
	_, err := strconv.ParseUint(text, 10, 32)
	return err == nil
}
