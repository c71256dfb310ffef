package dbfx

import "github.com/sergas/dbkit/dbfx/internal/dburl"

// SSLMode is libpq's sslmode; the empty one is prefer.
type SSLMode string

// libpq's modes, weakest first. Only the last two verify whom they talk to.
const (
	SSLModeDisable    SSLMode = "disable"
	SSLModeAllow      SSLMode = "allow"
	SSLModePrefer     SSLMode = "prefer"
	SSLModeRequire    SSLMode = "require"
	SSLModeVerifyCA   SSLMode = "verify-ca"
	SSLModeVerifyFull SSLMode = "verify-full"
)

func sslModes() []SSLMode {
	list := []SSLMode{""}
	for _, mode := range dburl.SSLModes {
		list = append(list, SSLMode(mode))
	}
	return list
}

// PrePing says when a PostgreSQL connection is pinged before its use.
type PrePing string

// Auto pings after a second of idling or when the socket has something to say;
// always costs a round trip for each checkout.
const (
	PrePingAuto   PrePing = "auto"
	PrePingAlways PrePing = "always"
	PrePingOff    PrePing = "off"
)

// Pooler says what stands between the service and PostgreSQL.
type Pooler string

// PoolerTransaction is PgBouncer in transaction mode, or its like.
const (
	PoolerOff         Pooler = "off"
	PoolerTransaction Pooler = "transaction"
)

// Migrations is what a start does about what is pending.
type Migrations string

// The modes of a start.
const (
	MigrationsRun   Migrations = "run"
	MigrationsCheck Migrations = "check"
	MigrationsOff   Migrations = "off"
)

// Synchronous is SQLite's pragma of that name.
type Synchronous string

// Normal survives the death of the process, full a power loss too.
const (
	SynchronousNormal Synchronous = "normal"
	SynchronousFull   Synchronous = "full"
)

// TempStore is SQLite's pragma temp_store.
type TempStore string

// Memory never spills, file does.
const (
	TempStoreMemory TempStore = "memory"
	TempStoreFile   TempStore = "file"
)
