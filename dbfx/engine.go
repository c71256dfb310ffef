package dbfx

import (
	"fmt"

	"github.com/sergas/dbkit/dbfx/internal/engine"
	"github.com/sergas/dbkit/dbfx/internal/postgres"
	"github.com/sergas/dbkit/dbfx/internal/sqlite"
)

// newEngine makes the engine that cfg asks for. It is the one place that turns a
// dialect into code.
func newEngine(cfg Config, name string, watch observers, password PasswordSource) (engine.Engine, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	loc, err := cfg.location()
	if err != nil {
		return nil, fmt.Errorf("dbfx: config: DATABASE_URL: %w", err)
	}
	trace := watch.trace(loc.dialect, name)
	prefix := ""
	if name != "" {
		prefix = prefixOf(name) + "_"
	}
	if loc.dialect == Postgres {
		return newPostgres(cfg, loc, trace, password, prefix), nil
	}
	return newSQLite(cfg, loc, trace, prefix), nil
}

func newPostgres(cfg Config, loc location, trace *engine.Trace, password PasswordSource, prefix string) *postgres.Engine {
	var replica *postgres.Options
	if !cfg.DatabaseReplicaURL.IsEmpty() {
		if at, err := parseURL(cfg.DatabaseReplicaURL.Reveal()); err == nil { // Validate has looked
			opt := postgresOptions(cfg, at.withSSLMode(cfg.SSLMode), trace, password)
			replica = &opt
		}
	}
	primary := postgresOptions(cfg, loc, trace, password)
	primary.Prefix = prefix
	return postgres.New(primary, replica)
}

func postgresOptions(cfg Config, loc location, trace *engine.Trace, password PasswordSource) postgres.Options {
	hosts := make([]postgres.Host, len(loc.hosts))
	for i, h := range loc.hosts {
		hosts[i] = postgres.Host{Name: h.host, Port: h.port}
	}
	return postgres.Options{
		Hosts:           hosts,
		User:            loc.user,
		Password:        loc.password,
		Database:        loc.database,
		Args:            loc.args,
		ApplicationName: cfg.ApplicationName,
		ConnectTimeout:  cfg.ConnectTimeout,
		PoolSize:        cfg.PoolSize,
		MaxOverflow:     cfg.MaxOverflow,
		Recycle:         cfg.PoolRecycle,
		RecycleJitter:   float64(cfg.PoolRecycleJitter) / 100,
		NoPool:          !cfg.TokenPersistenceEnabled,
		PrePing:         cfg.PoolPrePing,
		Pooler:          cfg.Pooler == "transaction",

		StatementTimeout: cfg.StatementTimeout,
		LockTimeout:      cfg.LockTimeout,
		IdleInTxTimeout:  cfg.IdleInTransactionTimeout,
		PasswordSource:   password,
		Trace:            trace,
	}
}

func newSQLite(cfg Config, loc location, trace *engine.Trace, prefix string) *sqlite.Engine {
	opt := sqlite.Options{
		Path:           loc.path,
		Memory:         loc.path == memoryPath,
		Setting:        prefix + "DATABASE_PATH",
		FileMode:       cfg.SQLiteFileMode,
		MaxConns:       cfg.SQLiteMaxConns,
		BusyTimeout:    cfg.SQLiteBusyTimeout,
		StatementCache: cfg.SQLiteStatementCache,
		Pragmas:        cfg.pragmas(),
		ReadPragmas:    cfg.readPragmas(),
		Trace:          trace,
	}
	if loc.unknown != "" {
		opt.Warnings = []string{fmt.Sprintf("%sDATABASE_URL: the scheme %q is not supported; using SQLite at %s", prefix, loc.unknown, opt.Setting)}
	} else if loc.fromURL {
		opt.Setting = prefix + "DATABASE_URL"
	}
	return sqlite.New(opt)
}
