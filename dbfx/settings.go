package dbfx

import (
	"math"
	"os"
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
	secret("DATABASE_MIGRATION_URL", func(c *Config) *Secret { return &c.DatabaseMigrationURL }),
	choice("MIGRATIONS", tuning, []Migrations{"", MigrationsRun, MigrationsCheck, MigrationsOff}, func(c *Config) *Migrations { return &c.Migrations }),
	choice("DATABASE_SSLMODE", place, sslModes(), func(c *Config) *SSLMode { return &c.SSLMode }),
	text("DATABASE_APPLICATION_NAME", tuning, func(c *Config) *string { return &c.ApplicationName }),
	text("DATABASE_PATH", place, func(c *Config) *string { return &c.SQLitePath }),
	whole("POOL_SIZE", tuning, 0, maxConns, func(c *Config) *int { return &c.PoolSize }),
	whole("MAX_OVERFLOW", tuning, -1, maxConns, func(c *Config) *int { return &c.MaxOverflow }),
	duration("POOL_TIMEOUT", 0, func(c *Config) *time.Duration { return &c.PoolTimeout }),
	duration("POOL_RECYCLE", Forever, func(c *Config) *time.Duration { return &c.PoolRecycle }),
	whole("POOL_RECYCLE_JITTER", tuning, 0, 100, func(c *Config) *int { return &c.PoolRecycleJitter }),
	alsoTrue("auto", choice("POOL_PRE_PING", tuning, []PrePing{PrePingAuto, PrePingAlways, PrePingOff}, func(c *Config) *PrePing { return &c.PoolPrePing })),
	choice("POOLER", tuning, []Pooler{PoolerOff, PoolerTransaction}, func(c *Config) *Pooler { return &c.Pooler }),
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
	choice("SQLITE_SYNCHRONOUS", tuning, []Synchronous{SynchronousNormal, SynchronousFull}, func(c *Config) *Synchronous { return &c.SQLiteSynchronous }),
	whole("SQLITE_WAL_MB", tuning, 0, 1<<20, func(c *Config) *int { return &c.SQLiteWALMB }),
	choice("SQLITE_TEMP_STORE", tuning, []TempStore{TempStoreMemory, TempStoreFile}, func(c *Config) *TempStore { return &c.SQLiteTempStore }),
	flag("SQLITE_READ_KEEPER", tuning, func(c *Config) *bool { return &c.SQLiteReadKeeper }),
	fileMode("SQLITE_FILE_MODE", func(c *Config) *os.FileMode { return &c.SQLiteFileMode }),
	flag("SQL_ECHO", shared, func(c *Config) *bool { return &c.SQLEcho }),
	flag("SQL_ECHO_PARAMS", shared, func(c *Config) *bool { return &c.SQLEchoParams }),
	duration("SQL_SLOW_THRESHOLD", 0, func(c *Config) *time.Duration { return &c.SQLSlowThreshold }),
}

// maxConns is far above what a PostgreSQL can serve, and keeps sums in range.
const maxConns = 1 << 20

// longest is the longest duration a setting may have: SQLite counts busy_timeout
// in milliseconds of 32 bits.
const longest = math.MaxInt32 * time.Millisecond
