// Package postgres is all that dbfx knows of PostgreSQL and of pgx.
package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sergas/dbkit/dbfx/internal/engine"
)

// Options say which database to open and how.
type Options struct {
	Hosts    []Host // none is the driver's default
	User     string
	Password string
	Database string
	Args     map[string]string // by libpq's or pgx's name, all known

	ApplicationName string
	ConnectTimeout  time.Duration
	PoolSize        int           // 0 is no limit
	MaxOverflow     int           // -1 is no limit
	Recycle         time.Duration // below 0 is never, 0 at every checkout
	RecycleJitter   float64       // the part of Recycle by which a connection may be replaced early
	NoPool          bool          // a connection per use
	PrePing         string        // auto, always or off
	Pooler          bool          // PgBouncer in transaction mode, or its like, stands between
	Eager           bool          // BEGIN is not put off: another server stands in for one that does not answer it

	StatementTimeout, LockTimeout, IdleInTxTimeout time.Duration // 0 is the server's

	// PasswordSource gives the password of each new connection; nil is Password.
	PasswordSource func(context.Context) (string, error)

	Prefix   string // of the variables, for errors
	Warnings []string
	Trace    *engine.Trace
}

// Host is a name, an address or a socket's directory; port 0 is 5432.
type Host struct {
	Name string
	Port int
}

// Engine is a PostgreSQL database.
type Engine struct {
	opt       *Options // a pointer: fmt prints it as an address, and the options hold the password
	connector *connector
	queue     *engine.Gate

	replica      *connector // nil where there are none
	replicaQueue *engine.Gate
}

var _ engine.Engine = (*Engine)(nil)

// replicaConnectTimeout is short: the primary stands in for a replica that does
// not answer, and View waits meanwhile.
const replicaConnectTimeout = 2 * time.Second

// New describes a database, and its replicas unless replica is nil; it opens
// nothing.
func New(opt Options, replica *Options) *Engine {
	most := max(opt.PoolSize+opt.MaxOverflow, 1)
	e := &Engine{opt: &opt, connector: newConnector(&opt), queue: engine.NewGate(most)}
	if replica != nil {
		replica.ConnectTimeout = min(replica.ConnectTimeout, replicaConnectTimeout)
		e.replica, e.replicaQueue = newConnector(replica), engine.NewGate(most)
	}
	return e
}

// Dialect implements engine.Engine.
func (e *Engine) Dialect() string { return "postgresql" }

// Where implements engine.Engine.
func (e *Engine) Where() string {
	hosts := make([]string, len(e.opt.Hosts))
	for i, h := range e.opt.Hosts {
		hosts[i] = h.Name
		if h.Port != 0 && !strings.HasPrefix(h.Name, "/") {
			hosts[i] = net.JoinHostPort(h.Name, strconv.Itoa(h.Port))
		}
	}
	where := strings.Join(hosts, ",")
	if where == "" {
		where = "the default host"
	}
	return fmt.Sprintf("%s, database %q, user %q", where, e.opt.Database, e.opt.User)
}

// Warnings implements engine.Engine.
func (e *Engine) Warnings() []string {
	warnings := e.opt.Warnings
	if e.opt.NoPool {
		warnings = append(warnings, "TOKEN_PERSISTENCE_ENABLED=false: a new connection for each use, about a hundred times slower")
	}
	if _, rest := e.opt.sessionParams(); e.opt.Pooler && rest != "" {
		warnings = append(warnings, fmt.Sprintf("POOLER=transaction: options %q cannot be sent through a pooler and are left out", rest))
	}
	mode := e.opt.Args["sslmode"]
	if !strings.HasPrefix(mode, "verify-") && e.opt.Args["sslrootcert"] == "" && !e.local() {
		if mode == "" {
			mode = "prefer"
		}
		warnings = append(warnings, fmt.Sprintf(
			"sslmode is %s: whoever sits between can read and change what is sent; set DATABASE_SSLMODE=verify-full", mode))
	}
	return warnings
}

// local reports whether no host is reached through a network.
func (e *Engine) local() bool {
	for _, h := range e.opt.Hosts {
		ip := net.ParseIP(h.Name)
		if h.Name != "" && h.Name != "localhost" && !strings.HasPrefix(h.Name, "/") && (ip == nil || !ip.IsLoopback()) {
			return false
		}
	}
	return true
}

// unlimited is the idle cap of a pool that has none.
const unlimited = 1 << 20

// Main implements engine.Engine.
//
// Idle connections are capped at what may be open and not at POOL_SIZE: under a
// load between the two that cap closed and opened connections all the time and
// halved the throughput. What exceeds it is trimmed when it has idled for a
// while.
func (e *Engine) Main() engine.Handle {
	h := engine.Handle{
		Connector:   e.connector,
		MaxOpen:     e.opt.PoolSize + e.opt.MaxOverflow,
		MaxLifetime: e.opt.Recycle,
		Keep:        e.opt.PoolSize,
	}
	switch {
	case e.opt.Recycle < 0:
		h.MaxLifetime = 0
	case e.opt.Recycle == 0:
		h.MaxLifetime = 1 // a nanosecond; to database/sql 0 is for ever
	}
	if e.opt.PoolSize == 0 || e.opt.MaxOverflow < 0 {
		h.MaxOpen = 0
	}
	h.MaxIdle = h.MaxOpen
	if h.MaxOpen == 0 {
		h.MaxIdle = unlimited
	}
	if e.opt.NoPool {
		h.MaxOpen, h.MaxIdle, h.Keep = 0, -1, 0
	}
	if h.MaxOpen > 0 {
		// First come, first served: 64 sessions on 4 connections had a p99 of 161 ms
		// from database/sql's random choice, and of 61 ms behind a queue.
		h.Gate = e.queue
	}
	return h
}

// onBegin is what a session runs first. Behind a pooler the settings of a session
// hold for a transaction.
func (o *Options) onBegin() []string {
	if !o.Pooler {
		return nil
	}
	params, _ := o.sessionParams()
	var list []string
	for _, name := range slices.Sorted(maps.Keys(params)) {
		list = append(list, fmt.Sprintf("set local %s = '%s'", name, strings.ReplaceAll(params[name], "'", "''")))
	}
	return list
}

// Reader implements engine.Engine: the replicas, or View uses the pool.
func (e *Engine) Reader() engine.Handle {
	if e.replica == nil {
		return engine.Handle{}
	}
	h := e.Main()
	h.Connector, h.Replica = e.replica, true
	if h.Gate != nil {
		h.Gate = e.replicaQueue
	}
	return h
}

// lag is 0 on a primary, and on a standby that has replayed all that it streams;
// else the age of the last transaction that it has replayed. A role that is not of
// pg_read_all_stats sees that there is a receiver, and its status as NULL.
const lag = `select case
	when not pg_is_in_recovery() then 0
	when exists (select 1 from pg_stat_wal_receiver where coalesce(status, 'streaming') = 'streaming')
		and pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() then 0
	else coalesce(extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp()), 1e9) end::float8`

// Lag implements engine.Engine.
func (e *Engine) Lag(ctx context.Context, tx engine.Execer) (time.Duration, error) {
	rows, err := tx.QueryContext(ctx, lag)
	if err != nil {
		return 0, err
	}
	defer func() { _ = rows.Close() }()
	var seconds float64
	if rows.Next() {
		err = rows.Scan(&seconds)
	}
	return time.Duration(seconds * float64(time.Second)), errors.Join(err, rows.Err())
}

// Prepare implements engine.Engine.
func (e *Engine) Prepare(context.Context) error {
	_, err := e.connector.read()
	return err
}

// Verify implements engine.Engine.
func (e *Engine) Verify(context.Context, *sql.DB) ([]string, error) { return nil, nil }

// Finish implements engine.Engine.
func (e *Engine) Finish(context.Context, *sql.DB) error { return nil }

// Backup implements engine.Engine.
func (e *Engine) Backup(context.Context, any, string, func(done, total int)) error {
	return errors.New("PostgreSQL is backed up with pg_dump or pg_basebackup")
}

// Savepoint implements engine.Engine. SET TRANSACTION READ ONLY ends with the
// savepoint that it stands in.
func (e *Engine) Savepoint(name string, readOnly bool) engine.Savepoint {
	sp := engine.Savepoint{
		Enter:    "savepoint " + name,
		Release:  "release " + name,
		Rollback: "rollback to " + name + "; release " + name,
	}
	if readOnly {
		sp.Enter += "; set transaction read only"
	}
	return sp
}

// SupportsIsolation implements engine.Engine.
func (e *Engine) SupportsIsolation(level sql.IsolationLevel) error {
	switch level {
	case sql.LevelDefault, sql.LevelReadUncommitted, sql.LevelReadCommitted,
		sql.LevelRepeatableRead, sql.LevelSnapshot, sql.LevelSerializable:
		return nil
	}
	return fmt.Errorf("PostgreSQL has no isolation level %s", level)
}
