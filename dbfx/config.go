package dbfx

import (
	"os"
	"time"
)

// Config holds every setting of one database. It is a plain value: copy it,
// change it, compare it with ==. It prints masked.
//
// Start from [LoadConfig] or [DefaultConfig]; the zero Config is not valid.
type Config struct {
	// Env is the kind of deployment. Where it is "production" or "prod", in any case,
	// Schema.Init, Schema.DropAll and the way down of migrations refuse.
	// Defaults to "development". Environment: ENV.
	Env string

	// DatabaseURL is where to connect, as SQLAlchemy or libpq write it, and wins
	// over the parts below and over SQLitePath. A scheme that is neither
	// PostgreSQL's nor SQLite's means SQLite at SQLitePath, with a warning.
	// Environment: DATABASE_URL.
	DatabaseURL Secret

	// Host, Port, Name, User and Password are PostgreSQL by parts; they count
	// when DatabaseURL is empty and Password is not. Host may be a directory of a
	// unix socket. Defaults: localhost, 5432, sergas_agent_db, sergas_user, empty.
	// Environment: DATABASE_HOST, _PORT, _NAME, _USER, _PASSWORD.
	Host     string
	Port     int
	Name     string
	User     string
	Password Secret

	// DatabaseReplicaURL is a PostgreSQL that View reads from, or several: hosts with
	// commas between, and load_balance_hosts=random to spread over them. The primary
	// stands in while none answers. Environment: DATABASE_REPLICA_URL.
	DatabaseReplicaURL Secret

	// DatabaseReplicaMaxLag takes a replica that lags more out of use; it costs a
	// round trip for each View. 0 takes what there is. Environment:
	// DATABASE_REPLICA_MAX_LAG.
	DatabaseReplicaMaxLag time.Duration

	// DatabaseMigrationURL is where migrations connect, when that is not where the
	// service does: a PostgreSQL without the pooler that stands before it, or its
	// owner's role, on the same database. Empty is the service's own.
	// Environment: DATABASE_MIGRATION_URL.
	DatabaseMigrationURL Secret

	// Migrations is what a start does about migrations, where the service has the
	// package migrate: run applies what is pending, check fails the start then, as
	// another process migrates, off starts all the same. Empty is run, the default.
	// Environment: MIGRATIONS.
	Migrations Migrations

	// SSLMode is libpq's sslmode for a connection that its URL gives none:
	// disable, allow, prefer, require, verify-ca or verify-full. Empty is prefer,
	// which encrypts where it can and verifies nothing. Environment: DATABASE_SSLMODE.
	SSLMode SSLMode

	// ApplicationName is shown in pg_stat_activity. Empty is the name of the
	// program. Environment: DATABASE_APPLICATION_NAME.
	ApplicationName string

	// SQLitePath is the file of the embedded database, used when neither a URL
	// nor a password names a PostgreSQL; ":memory:" keeps nothing. Its directory is
	// made on start. Defaults to ./data/sergas.db. Environment: DATABASE_PATH.
	SQLitePath string

	// PoolSize is how many PostgreSQL connections are kept. 0 is no limit, as in
	// SQLAlchemy. Defaults to 20. Environment: POOL_SIZE.
	PoolSize int

	// MaxOverflow is how many more may be opened under load; they are closed when
	// they idle. -1 is no limit. Defaults to 10. Environment: MAX_OVERFLOW.
	MaxOverflow int

	// PoolTimeout is the longest wait of Run and View for a connection. 0 waits
	// as long as the caller's context allows.
	//
	// It does not bound a query on the *sql.DB itself, which waits for a connection
	// as long as its own context allows: at a full pool such a query inside Run waits
	// for the connection that the Run holds. Use the Session there.
	//
	// Defaults to 30 seconds.
	// Environment: POOL_TIMEOUT, in seconds ("30") or as a Go duration ("1m").
	PoolTimeout time.Duration

	// PoolRecycle is the age at which a PostgreSQL connection is replaced. -1
	// (Forever) is never, 0 at every checkout, as in SQLAlchemy. Defaults to one
	// hour. Environment: POOL_RECYCLE.
	PoolRecycle time.Duration

	// PoolRecycleJitter is by how many percent of PoolRecycle a connection may be
	// replaced early, so that not all are at once. Defaults to 10. Environment:
	// POOL_RECYCLE_JITTER.
	PoolRecycleJitter int

	// PoolPrePing says when a PostgreSQL connection is pinged before its use: auto,
	// after a second of idling or when its socket has something to say; always,
	// which costs a round trip; or off. Defaults to auto. Environment: POOL_PRE_PING,
	// where SQLAlchemy's true is auto and its false is off.
	PoolPrePing PrePing

	// Pooler is transaction where PgBouncer in transaction mode, or its like, stands
	// in front of PostgreSQL: no prepared statements by name, no startup parameters
	// that it refuses, and the timeouts below as SET LOCAL in sessions alone. What
	// PrepareContext returns keeps its text, and runs as a statement that was not
	// prepared. Defaults to off. Environment: POOLER.
	Pooler Pooler

	// StatementTimeout, LockTimeout and IdleInTransactionTimeout are PostgreSQL's
	// settings of those names. 0 leaves the server's. Environment: STATEMENT_TIMEOUT,
	// LOCK_TIMEOUT, IDLE_IN_TRANSACTION_TIMEOUT.
	StatementTimeout         time.Duration
	LockTimeout              time.Duration
	IdleInTransactionTimeout time.Duration

	// ConnectTimeout bounds one try to connect to one PostgreSQL host. Defaults
	// to 10 seconds. Environment: CONNECT_TIMEOUT.
	ConnectTimeout time.Duration

	// StartTimeout bounds the whole start: the wait for a server that is still
	// booting included. 0 is 80 % of what the start's context has left, or 15
	// seconds where it has no deadline. Environment: START_TIMEOUT.
	StartTimeout time.Duration

	// CommitTimeout bounds COMMIT. What is not answered by then is
	// ErrCommitUnknown. Defaults to 10 seconds. Environment: COMMIT_TIMEOUT.
	CommitTimeout time.Duration

	// DrainTimeout bounds Stop and Close whose context has no deadline.
	// Defaults to 10 seconds. Environment: DRAIN_TIMEOUT.
	DrainTimeout time.Duration

	// TokenPersistenceEnabled false opens a PostgreSQL connection for each use
	// and keeps none, about a hundred times slower. Defaults to true.
	// Environment: TOKEN_PERSISTENCE_ENABLED.
	TokenPersistenceEnabled bool

	// SQLiteMaxConns is how many real connections to a SQLite file read; the one
	// that writes is another. When a reader has waited for 20 ms one more is opened,
	// and closed when it is idle. 1 is SQLAlchemy's StaticPool: everything runs on
	// one connection. 0, the default, chooses 16. The *sql.DB itself has no limit:
	// sql.DBStats counts who uses it. Environment: SQLITE_MAX_CONNS.
	SQLiteMaxConns int

	// SQLiteBusyTimeout is how long a statement waits for another process's lock,
	// and one outside of a session for the writers of this process; the timeout of a
	// SQLite URL wins. Defaults to 5 seconds. Environment: SQLITE_BUSY_TIMEOUT.
	SQLiteBusyTimeout time.Duration

	// SQLiteCacheMB is the page cache of one connection in MiB; the memory taken
	// can be twice that. Defaults to 64. Environment: SQLITE_CACHE_MB.
	SQLiteCacheMB int

	// SQLiteMmapMB is how much of the file is read through a memory map, in MiB: up
	// to 1.8 times as fast for range reads, but an I/O error or a truncated file
	// then ends the process with SIGBUS. Defaults to 0. Environment: SQLITE_MMAP_MB.
	SQLiteMmapMB int

	// SQLiteStatementCache is how many prepared statements each connection keeps,
	// about 4 kB each. 0 keeps none. Defaults to 128. Environment:
	// SQLITE_STATEMENT_CACHE.
	SQLiteStatementCache int

	// SQLiteSynchronous is normal, which survives the death of the process, or
	// full, which survives a power loss too and costs about five times as much a
	// commit. Defaults to normal. Environment: SQLITE_SYNCHRONOUS.
	SQLiteSynchronous Synchronous

	// SQLiteWALMB is the size of the log beside the file, in MiB, from which on the
	// writer waits up to 150 ms for a moment without readers to begin it anew. 0
	// leaves all checkpoints to others, such as litestream. Defaults to 32.
	// Environment: SQLITE_WAL_MB.
	SQLiteWALMB int

	// SQLiteTempStore is where sorts and temporary tables go: memory, which never
	// spills, so that a sort of 400 MB takes 800 MB; or file, which needs as much
	// room in the directory for temporary files. Defaults to memory. Environment:
	// SQLITE_TEMP_STORE.
	SQLiteTempStore TempStore

	// SQLiteReadKeeper keeps a read transaction open for up to 50 ms at a time while
	// there are reads and no writes of this process: SQLite then spares every read
	// two system calls, 40 % of a point select. Another process may wait so long for
	// a checkpoint; after each write of another process there is none for a minute.
	// Defaults to true. Environment: SQLITE_READ_KEEPER.
	SQLiteReadKeeper bool

	// SQLiteFileMode is the permission of a database file that dbfx makes; what
	// exists keeps its own. Defaults to 0600. Environment: SQLITE_FILE_MODE, octal.
	SQLiteFileMode os.FileMode

	// SQLEcho logs every statement. Defaults to false. Environment: SQL_ECHO.
	SQLEcho bool

	// SQLEchoParams adds the arguments to what SQLEcho logs. They may hold
	// secrets. Defaults to false. Environment: SQL_ECHO_PARAMS.
	SQLEchoParams bool

	// SQLSlowThreshold is how long a session or a statement may take before it is
	// logged as slow. 0 logs none. Defaults to one second. Environment:
	// SQL_SLOW_THRESHOLD, in seconds ("0.5") or as a Go duration ("500ms").
	SQLSlowThreshold time.Duration

	dir string // where the Config was made: what a relative path is relative to
}

// Forever is the PoolRecycle of a connection that no age ends.
const Forever time.Duration = -1 * time.Second

// DefaultConfig returns what an empty environment gives.
func DefaultConfig() Config {
	return Config{
		Env:                     "development",
		Host:                    "localhost",
		Port:                    5432,
		Name:                    "sergas_agent_db",
		User:                    "sergas_user",
		SQLitePath:              "./data/sergas.db",
		PoolSize:                20,
		MaxOverflow:             10,
		PoolTimeout:             30 * time.Second,
		PoolRecycle:             time.Hour,
		PoolRecycleJitter:       10,
		PoolPrePing:             PrePingAuto,
		Pooler:                  PoolerOff,
		ConnectTimeout:          10 * time.Second,
		CommitTimeout:           10 * time.Second,
		DrainTimeout:            10 * time.Second,
		TokenPersistenceEnabled: true,
		SQLiteBusyTimeout:       5 * time.Second,
		SQLiteCacheMB:           64,
		SQLiteStatementCache:    128,
		SQLiteSynchronous:       SynchronousNormal,
		SQLiteWALMB:             32,
		SQLiteTempStore:         TempStoreMemory,
		SQLiteReadKeeper:        true,
		SQLiteFileMode:          0o600,
		SQLSlowThreshold:        time.Second,
		Migrations:              MigrationsRun,
		dir:                     workingDir(),
	}
}
