package dbfx

import (
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"time"
)

// scope says which variable a named database reads for a setting.
type scope int

const (
	place  scope = iota // NAME_X only: no named database opens another one's
	tuning              // NAME_X, else X
	shared              // X only
)

// setting is one variable and the field it fills.
type setting struct {
	name  string
	scope scope
	exact bool                               // spaces around the text belong to it
	read  func(c *Config, text string) error // the text is not empty; the error lacks the name
	check func(c *Config) error
	show  func(c *Config) string // masked
}

// settings is every variable that dbfx reads, in the order of Config's fields.
var settings = []setting{
	text("ENV", shared, func(c *Config) *string { return &c.Env }),
	secret("DATABASE_URL", func(c *Config) *Secret { return &c.DatabaseURL }),
	text("DATABASE_HOST", place, func(c *Config) *string { return &c.Host }),
	whole("DATABASE_PORT", place, 1, math.MaxUint16, func(c *Config) *int { return &c.Port }),
	text("DATABASE_NAME", place, func(c *Config) *string { return &c.Name }),
	text("DATABASE_USER", place, func(c *Config) *string { return &c.User }),
	exact(secret("DATABASE_PASSWORD", func(c *Config) *Secret { return &c.Password })),
	secret("DATABASE_REPLICA_URL", func(c *Config) *Secret { return &c.DatabaseReplicaURL }),
	duration("DATABASE_REPLICA_MAX_LAG", 0, func(c *Config) *time.Duration { return &c.DatabaseReplicaMaxLag }),
	choice("DATABASE_SSLMODE", place, append([]string{""}, sslModes...), func(c *Config) *string { return &c.SSLMode }),
	text("DATABASE_APPLICATION_NAME", tuning, func(c *Config) *string { return &c.ApplicationName }),
	text("DATABASE_PATH", place, func(c *Config) *string { return &c.SQLitePath }),
	whole("POOL_SIZE", tuning, 0, maxConns, func(c *Config) *int { return &c.PoolSize }),
	whole("MAX_OVERFLOW", tuning, -1, maxConns, func(c *Config) *int { return &c.MaxOverflow }),
	duration("POOL_TIMEOUT", 0, func(c *Config) *time.Duration { return &c.PoolTimeout }),
	duration("POOL_RECYCLE", Forever, func(c *Config) *time.Duration { return &c.PoolRecycle }),
	whole("POOL_RECYCLE_JITTER", tuning, 0, 100, func(c *Config) *int { return &c.PoolRecycleJitter }),
	choice("POOL_PRE_PING", tuning, []string{"auto", "always", "off"}, func(c *Config) *string { return &c.PoolPrePing }),
	choice("POOLER", tuning, []string{"off", "transaction"}, func(c *Config) *string { return &c.Pooler }),
	duration("STATEMENT_TIMEOUT", 0, func(c *Config) *time.Duration { return &c.StatementTimeout }),
	duration("LOCK_TIMEOUT", 0, func(c *Config) *time.Duration { return &c.LockTimeout }),
	duration("IDLE_IN_TRANSACTION_TIMEOUT", 0, func(c *Config) *time.Duration { return &c.IdleInTransactionTimeout }),
	duration("CONNECT_TIMEOUT", time.Millisecond, func(c *Config) *time.Duration { return &c.ConnectTimeout }),
	duration("START_TIMEOUT", 0, func(c *Config) *time.Duration { return &c.StartTimeout }),
	duration("COMMIT_TIMEOUT", time.Millisecond, func(c *Config) *time.Duration { return &c.CommitTimeout }),
	duration("DRAIN_TIMEOUT", time.Millisecond, func(c *Config) *time.Duration { return &c.DrainTimeout }),
	flag("TOKEN_PERSISTENCE_ENABLED", tuning, func(c *Config) *bool { return &c.TokenPersistenceEnabled }),
	whole("SQLITE_MAX_CONNS", tuning, 0, 1000, func(c *Config) *int { return &c.SQLiteMaxConns }),
	duration("SQLITE_BUSY_TIMEOUT", 0, func(c *Config) *time.Duration { return &c.SQLiteBusyTimeout }),
	whole("SQLITE_CACHE_MB", tuning, 1, 1<<20, func(c *Config) *int { return &c.SQLiteCacheMB }),
	whole("SQLITE_MMAP_MB", tuning, 0, 1<<20, func(c *Config) *int { return &c.SQLiteMmapMB }),
	whole("SQLITE_STATEMENT_CACHE", tuning, 0, 1<<16, func(c *Config) *int { return &c.SQLiteStatementCache }),
	choice("SQLITE_SYNCHRONOUS", tuning, []string{"normal", "full"}, func(c *Config) *string { return &c.SQLiteSynchronous }),
	fileMode("SQLITE_FILE_MODE", func(c *Config) *os.FileMode { return &c.SQLiteFileMode }),
	flag("SQL_ECHO", shared, func(c *Config) *bool { return &c.SQLEcho }),
	flag("SQL_ECHO_PARAMS", shared, func(c *Config) *bool { return &c.SQLEchoParams }),
}

// maxConns is far above what a PostgreSQL can serve, and keeps sums in range.
const maxConns = 1 << 20

// longest is the longest duration a setting may have: SQLite counts busy_timeout
// in milliseconds of 32 bits.
const longest = math.MaxInt32 * time.Millisecond

func wanted(want, got string) error { return fmt.Errorf("want %s, got %q", want, got) }

func noCheck(*Config) error { return nil }

func exact(s setting) setting {
	s.exact = true
	return s
}

func text(name string, s scope, field func(*Config) *string) setting {
	return setting{
		name: name, scope: s, check: noCheck,
		read: func(c *Config, text string) error { *field(c) = text; return nil },
		show: func(c *Config) string { return *field(c) },
	}
}

func secret(name string, field func(*Config) *Secret) setting {
	return setting{
		name: name, scope: place, check: noCheck,
		read: func(c *Config, text string) error { *field(c) = NewSecret(text); return nil },
		show: func(c *Config) string { return field(c).String() },
	}
}

func choice(name string, s scope, allowed []string, field func(*Config) *string) setting {
	check := func(c *Config) error {
		for _, a := range allowed {
			if *field(c) == a {
				return nil
			}
		}
		return wanted("one of "+strings.TrimPrefix(strings.Join(allowed, ", "), ", "), *field(c))
	}
	return setting{
		name: name, scope: s, check: check,
		read: func(c *Config, text string) error { *field(c) = strings.ToLower(text); return nil },
		show: func(c *Config) string { return *field(c) },
	}
}

func whole(name string, s scope, least, most int, field func(*Config) *int) setting {
	want := fmt.Sprintf("a whole number from %d to %d", least, most)
	if most == maxConns {
		want = fmt.Sprintf("a whole number of at least %d", least)
	}
	check := func(c *Config) error {
		if n := *field(c); n < least || n > most {
			return wanted(want, strconv.Itoa(n))
		}
		return nil
	}
	read := func(c *Config, text string) error {
		n, err := strconv.Atoi(text)
		if err != nil {
			return wanted(want, text)
		}
		*field(c) = n
		return nil
	}
	return setting{name: name, scope: s, read: read, check: check,
		show: func(c *Config) string { return strconv.Itoa(*field(c)) }}
}

func duration(name string, least time.Duration, field func(*Config) *time.Duration) setting {
	want := `seconds ("30") or a duration ("30s", "1m")`
	switch least {
	case Forever:
		want += " of at least 0, or -1 for never"
	case 0:
		want += " of at least 0"
	default:
		want += " of at least " + least.String()
	}
	check := func(c *Config) error {
		d := *field(c)
		if d == Forever && least == Forever || d >= max(least, 0) && d <= longest {
			return nil
		}
		return wanted(want, d.String())
	}
	read := func(c *Config, text string) error {
		d, ok := parseDuration(text)
		if !ok {
			return wanted(want, text)
		}
		*field(c) = d
		return nil
	}
	return setting{name: name, scope: tuning, read: read, check: check,
		show: func(c *Config) string { return field(c).String() }}
}

// parseDuration reads bare seconds, as the Python users write them, and Go's
// durations.
func parseDuration(text string) (time.Duration, bool) {
	if d, err := time.ParseDuration(text); err == nil {
		return d, true
	}
	seconds, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(seconds) || math.Abs(seconds) > longest.Seconds() {
		return 0, false
	}
	return time.Duration(seconds * float64(time.Second)), true
}

func flag(name string, s scope, field func(*Config) *bool) setting {
	read := func(c *Config, text string) error {
		switch strings.ToLower(text) { // pydantic's words
		case "1", "true", "t", "yes", "y", "on":
			*field(c) = true
		case "0", "false", "f", "no", "n", "off":
			*field(c) = false
		default:
			return wanted("true or false", text)
		}
		return nil
	}
	return setting{name: name, scope: s, read: read, check: noCheck,
		show: func(c *Config) string { return strconv.FormatBool(*field(c)) }}
}

func fileMode(name string, field func(*Config) *os.FileMode) setting {
	const want = "an octal permission that its owner can read and write, such as 0600"
	check := func(c *Config) error {
		if m := *field(c); m&0o600 != 0o600 || m&^0o666 != 0 {
			return wanted(want, fmt.Sprintf("%#o", uint32(m)))
		}
		return nil
	}
	read := func(c *Config, text string) error {
		n, err := strconv.ParseUint(strings.TrimPrefix(text, "0o"), 8, 32)
		if err != nil {
			return wanted(want, text)
		}
		*field(c) = os.FileMode(n)
		return nil
	}
	return setting{name: name, scope: tuning, read: read, check: check,
		show: func(c *Config) string { return fmt.Sprintf("%#o", uint32(*field(c))) }}
}
