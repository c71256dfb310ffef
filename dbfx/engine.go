package dbfx

import (
	"fmt"

	"github.com/sergas/dbkit/dbfx/internal/dburl"
	"github.com/sergas/dbkit/dbfx/internal/engine"
	"github.com/sergas/dbkit/dbfx/internal/postgres"
	"github.com/sergas/dbkit/dbfx/internal/sqlite"
)

// newEngine makes the engine that cfg asks for. It is the one place that turns a
// dialect into code.
func newEngine(cfg Config, name string, watch *observers, password PasswordSource, warn func(string)) (engine.Engine, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	loc, err := cfg.location()
	if err != nil {
		return nil, fmt.Errorf("dbfx: config: DATABASE_URL: %w", err)
	}
	trace := watch.trace(Dialect(loc.Dialect), name)
	prefix := ""
	if name != "" {
		prefix = prefixOf(name) + "_"
	}
	if loc.Dialect == dburl.Postgres {
		return newPostgres(cfg, loc, trace, password, prefix), nil
	}
	return newSQLite(cfg, loc, trace, prefix, warn), nil
}

func newPostgres(cfg Config, loc dburl.Location, trace *engine.Trace, password PasswordSource, prefix string) *postgres.Engine {
	var replica *postgres.Options
	if !cfg.DatabaseReplicaURL.IsEmpty() {
		if at, err := dburl.Parse(cfg.DatabaseReplicaURL.Reveal()); err == nil { // Validate has looked
			opt := postgresOptions(cfg, at.WithSSLMode(string(cfg.SSLMode)), trace, password)
			opt.Eager = cfg.DatabaseReplicaMaxLag <= 0 // else the question for the lag comes at once, and takes BEGIN along
			replica = &opt
		}
	}
	primary := postgresOptions(cfg, loc, trace, password)
	primary.Prefix = prefix
	return postgres.New(primary, replica)
}

func postgresOptions(cfg Config, loc dburl.Location, trace *engine.Trace, password PasswordSource) postgres.Options {
	hosts := make([]postgres.Host, len(loc.Hosts))
	for i, h := range loc.Hosts {
		hosts[i] = postgres.Host{Name: h.Name, Port: h.Port}
	}
	return postgres.Options{
		Hosts:           hosts,
		User:            loc.User,
		Password:        loc.Password,
		Database:        loc.Database,
		Args:            loc.Args,
		ApplicationName: cfg.ApplicationName,
		ConnectTimeout:  cfg.ConnectTimeout,
		PoolSize:        cfg.PoolSize,
		MaxOverflow:     cfg.MaxOverflow,
		Recycle:         cfg.PoolRecycle,
		RecycleJitter:   float64(cfg.PoolRecycleJitter) / 100,
		NoPool:          !cfg.TokenPersistenceEnabled,
		PrePing:         string(cfg.PoolPrePing),
		Pooler:          cfg.Pooler == PoolerTransaction,

		StatementTimeout: cfg.StatementTimeout,
		LockTimeout:      cfg.LockTimeout,
		IdleInTxTimeout:  cfg.IdleInTransactionTimeout,
		PasswordSource:   password,
		Trace:            trace,
	}
}

func newSQLite(cfg Config, loc dburl.Location, trace *engine.Trace, prefix string, warn func(string)) *sqlite.Engine {
	path := cfg.File()
	if path == "" {
		path = loc.Path // in memory
	}
	opt := sqlite.Options{
		Path:           path,
		Memory:         loc.Path == dburl.Memory,
		Setting:        prefix + "DATABASE_PATH",
		FileMode:       cfg.SQLiteFileMode,
		MaxConns:       cfg.SQLiteMaxConns,
		BusyTimeout:    cfg.busyTimeout(),
		StatementCache: cfg.SQLiteStatementCache,
		WALBytes:       int64(cfg.SQLiteWALMB) << 20,
		ReadKeeper:     cfg.SQLiteReadKeeper,
		Warn:           warn,
		Pragmas:        cfg.pragmas(),
		ReadPragmas:    cfg.readPragmas(),
		Trace:          trace,
	}
	if loc.Unknown != "" {
		opt.Warnings = []string{fmt.Sprintf("%sDATABASE_URL: the scheme %q is not supported; using SQLite at %s", prefix, loc.Unknown, opt.Setting)}
	} else if cfg.hasURL() {
		opt.Setting = prefix + "DATABASE_URL"
	}
	return sqlite.New(opt)
}
