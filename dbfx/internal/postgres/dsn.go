package postgres

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// config translates the options. pgx fills what a connection string leaves open
// from PG* variables and its error can quote a password, so every setting that
// a variable could weaken is written out, the password is set afterwards, and
// the error of the parser is not shown.
func (o *Options) config() (*pgx.ConnConfig, error) {
	keys := map[string]string{
		"sslmode":              "prefer",
		"sslnegotiation":       "postgres",
		"channel_binding":      "prefer",
		"target_session_attrs": "any",
		"application_name":     o.ApplicationName,
		"connect_timeout":      strconv.Itoa(int(math.Ceil(o.ConnectTimeout.Seconds()))),
	}
	if keys["application_name"] == "" {
		keys["application_name"] = filepath.Base(os.Args[0])
	}
	maps.Copy(keys, o.Args)
	for _, ours := range []string{
		"load_balance_hosts", "options", "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout",
	} {
		delete(keys, ours)
	}
	if o.User != "" {
		keys["user"] = o.User
	}
	if o.Database != "" {
		keys["dbname"] = o.Database
	}
	o.hosts(keys)

	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		b.WriteString(key + "='" + quoteValue.Replace(keys[key]) + "' ")
	}
	var fence pgx.ParseConfigOptions // pgx takes only the keys that were written here
	fence.ConnStringAllowedKeys = slices.Collect(maps.Keys(keys))
	cfg, err := pgx.ParseConfigWithOptions(b.String(), fence)
	if err != nil {
		return nil, o.explainParse()
	}
	if o.Password != "" {
		cfg.Password = o.Password
	}
	if o.Args["connect_timeout"] == "" {
		cfg.ConnectTimeout = o.ConnectTimeout // to the millisecond
	}
	cfg.DialFunc = o.dialer().DialContext
	cfg.RuntimeParams = map[string]string{"application_name": keys["application_name"]} // not PGOPTIONS, PGTZ
	params, rest := o.sessionParams()
	if o.Pooler {
		// PgBouncer refuses startup parameters that it does not track, and 1.18 and
		// older know no prepared statements; see Options.onBegin.
		if o.Args["default_query_exec_mode"] == "" {
			cfg.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
		}
		return cfg, nil
	}
	maps.Copy(cfg.RuntimeParams, params)
	if rest != "" {
		cfg.RuntimeParams["options"] = rest
	}
	return cfg, nil
}

// dialer finds a dead peer after 15 + 9·15 seconds of silence, and after 30 with
// data that no one acknowledges, unless the URL says otherwise.
func (o *Options) dialer() *net.Dialer {
	number := func(key string, otherwise int) int {
		if n, err := strconv.Atoi(o.Args[key]); err == nil {
			return n
		}
		return otherwise
	}
	seconds := func(key string) time.Duration { return time.Duration(number(key, 15)) * time.Second }
	d := &net.Dialer{Control: limitUnacknowledged(number("tcp_user_timeout", 30_000))}
	if number("keepalives", 1) == 0 {
		d.KeepAlive = -1 // 0 would be Go's default, which is on
		return d
	}
	d.KeepAliveConfig = net.KeepAliveConfig{
		Enable: true, Idle: seconds("keepalives_idle"), Interval: seconds("keepalives_interval"), Count: number("keepalives_count", 9),
	}
	return d
}

// sessionParams returns the server's settings for every session, and what of the
// argument options is none.
func (o *Options) sessionParams() (params map[string]string, rest string) {
	params = map[string]string{}
	for name, d := range map[string]time.Duration{
		"statement_timeout": o.StatementTimeout, "lock_timeout": o.LockTimeout,
		"idle_in_transaction_session_timeout": o.IdleInTxTimeout,
	} {
		if d > 0 {
			params[name] = strconv.FormatInt(max(d.Milliseconds(), 1), 10)
		}
	}
	options := o.Args["options"]
	if o.Pooler { // what cannot go as it is must be told apart
		options = " " + options
		options = strings.TrimSpace(shortForm.ReplaceAllString(options, " -c $1="))
	}
	rest = runtimeParams(options, params)
	return params, rest
}

// shortForm is -cname=value, which the server reads as -c name=value.
var shortForm = regexp.MustCompile(` -c([A-Za-z_.]+)=`)

var quoteValue = strings.NewReplacer(`\`, `\\`, `'`, `\'`)

func (o *Options) hosts(keys map[string]string) {
	var names, ports []string
	for _, h := range o.Hosts {
		names = append(names, h.Name)
		port := h.Port
		if port == 0 {
			port = 5432
		}
		ports = append(ports, strconv.Itoa(port))
	}
	if name := strings.Join(names, ","); name != "" {
		keys["host"] = name
	}
	if len(ports) > 0 {
		keys["port"] = strings.Join(ports, ",")
	}
}

// explainParse says why pgx did not take the options. Only the files that they
// name can be wrong: the rest was checked when the URL was read.
func (o *Options) explainParse() error {
	for _, key := range []string{"sslrootcert", "sslcert", "sslkey"} {
		path := o.Args[key]
		if path == "" || key == "sslrootcert" && path == "system" {
			continue
		}
		if _, err := os.ReadFile(path); err != nil {
			return fmt.Errorf("DATABASE_URL: %s: %w", key, err)
		}
	}
	if os.Getenv("PGSERVICE") != "" {
		return errors.New("PGSERVICE names a service that is not in the service file; unset it")
	}
	return errors.New("DATABASE_URL: the TLS arguments do not fit together, or a certificate cannot be read; look also at PGSSLROOTCERT and PGSSLCERT")
}

// runtimeParams moves what options sets with "-c name=value" to params, which
// PgBouncer can tell apart, and returns the rest of options.
func runtimeParams(options string, params map[string]string) (rest string) {
	words := splitOptions(options)
	var left []string
	for i := 0; i < len(words); i++ {
		if words[i] == "-c" && i+1 < len(words) {
			if name, value, ok := strings.Cut(words[i+1], "="); ok {
				params[name] = unescapeOption.Replace(value)
				i++
				continue
			}
		}
		left = append(left, words[i])
	}
	return strings.Join(left, " ")
}

var unescapeOption = strings.NewReplacer(`\\`, `\`, `\ `, " ")

// splitOptions splits at the spaces that no backslash precedes, as the server
// does.
func splitOptions(options string) []string {
	var words []string
	var word strings.Builder
	for i := 0; i < len(options); i++ {
		switch c := options[i]; {
		case c == '\\' && i+1 < len(options):
			word.WriteString(options[i : i+2])
			i++
		case c == ' ':
			if word.Len() > 0 {
				words = append(words, word.String())
				word.Reset()
			}
		default:
			word.WriteByte(c)
		}
	}
	if word.Len() > 0 {
		words = append(words, word.String())
	}
	return words
}
