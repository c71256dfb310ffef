package postgres

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// connector opens guarded connections. It is used by its pointer: fmt prints
// that as an address, and the connector of pgx with the password.
type connector struct {
	opt *Options

	once sync.Once
	pgx  driver.Connector
	err  error
}

var _ driver.Connector = (*connector)(nil)

// Connect implements driver.Connector.
func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	base, err := c.base()
	if err != nil {
		return nil, err
	}
	opened, err := base.Connect(ctx)
	if err != nil {
		return nil, err
	}
	raw, ok := opened.(*stdlib.Conn)
	if !ok {
		_ = opened.Close()
		return nil, fmt.Errorf("pgx: unexpected connection %T", opened)
	}
	return &conn{stdConn: raw, trace: c.opt.Trace}, nil
}

// Driver implements driver.Connector.
func (c *connector) Driver() driver.Driver { return stdlib.GetDefaultDriver() }

// base builds pgx's connector at the first use: it reads certificates.
func (c *connector) base() (driver.Connector, error) {
	c.once.Do(func() {
		var cfg *pgx.ConnConfig
		if cfg, c.err = c.opt.config(); c.err != nil {
			return
		}
		var options []stdlib.OptionOpenDB
		if c.opt.Args["load_balance_hosts"] == "random" {
			options = append(options, stdlib.OptionBeforeConnect(stdlib.RandomizeHostOrderFunc))
		}
		c.pgx = stdlib.GetConnector(*cfg, options...)
	})
	return c.pgx, c.err
}

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
	delete(keys, "load_balance_hosts")
	options := keys["options"]
	delete(keys, "options")
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
	params := map[string]string{"application_name": keys["application_name"]}
	rest := runtimeParams(options, params)
	if rest != "" {
		params["options"] = rest
	}
	cfg.RuntimeParams = params // not PGOPTIONS, PGTZ
	return cfg, nil
}

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
