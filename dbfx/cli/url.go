package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/url"
	"strings"

	"github.com/sergas/dbkit/dbfx"
)

// url prints where the database is, as one kind of tool takes it.
func (a App) url(_ context.Context, cfg dbfx.Config, args []string) (int, error) {
	flags := flag.NewFlagSet(a.Name+" url", flag.ContinueOnError)
	flags.SetOutput(a.Stderr)
	sync := flags.Bool("sqlalchemy", false, "as SQLAlchemy and Alembic take it")
	async := flags.Bool("async", false, "as SQLAlchemy takes it, for asyncpg and aiosqlite")
	psql := flags.Bool("psql", false, "as psql and other programs of libpq take it")
	file := flags.Bool("file", false, "the absolute path of the SQLite file, as sqlite3, goose and golang-migrate take it")
	reveal := flags.Bool("reveal", false, "with the password")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return ExitOK, err
	} else if err != nil {
		return ExitSettings, errUsage
	}
	if flags.NArg() > 0 || count(*sync, *async, *psql, *file) > 1 {
		return ExitSettings, a.wrong("url takes one of its flags, and no argument")
	}
	text, err := urlOf(cfg, *sync, *async, *psql, *file)
	if err != nil {
		return ExitFailure, err
	}
	if !*reveal {
		text, _ = withoutSecrets(text, "***")
	}
	fmt.Fprintln(a.Stdout, text)
	return ExitOK, nil
}

func count(flags ...bool) (n int) {
	for _, on := range flags {
		if on {
			n++
		}
	}
	return n
}

func urlOf(cfg dbfx.Config, sync, async, psql, file bool) (string, error) {
	switch {
	case sync || async:
		return cfg.SQLAlchemyURL(async), nil
	case psql && cfg.Dialect() != dbfx.Postgres:
		return "", errors.New("psql knows no SQLite; see -file")
	case file && cfg.File() == "":
		return "", errors.New("the database is no file")
	case file:
		return cfg.File(), nil
	}
	return cfg.URL(), nil
}

// withoutSecrets cuts the password out of a URL, which may be one of several hosts
// and so none of net/url's, and puts mask in its place where there was one. The
// password is as it was before it was escaped.
func withoutSecrets(text, mask string) (rest, password string) {
	scheme, after, ok := strings.Cut(text, "://")
	if !ok {
		return text, ""
	}
	authority, path := after, ""
	if i := strings.IndexAny(after, "/?"); i >= 0 {
		authority, path = after[:i], after[i:]
	}
	if i := strings.LastIndex(authority, "@"); i >= 0 {
		if user, escaped, has := strings.Cut(authority[:i], ":"); has {
			password, _ = url.PathUnescape(escaped)
			if mask != "" {
				user += ":" + mask
			}
			authority = user + authority[i:]
		}
	}
	path, query, has := strings.Cut(path, "?")
	var kept []string
	for argument := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(argument, "=")
		switch {
		case name != "password" && name != "sslpassword":
			kept = append(kept, argument)
			continue
		case name == "password":
			password, _ = url.QueryUnescape(value)
		}
		if mask != "" {
			kept = append(kept, name+"="+mask)
		}
	}
	if has && len(kept) > 0 {
		path += "?" + strings.Join(kept, "&")
	}
	return scheme + "://" + authority + path, password
}
