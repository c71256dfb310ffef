package migrate

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pressly/goose/v3/database"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/dbfx/internal/engine"
	"github.com/sergas/dbkit/dbfx/internal/postgres"
)

// pgRules are PostgreSQL's.
//
// The advisory lock is tried and never waited for: a blocked one has a snapshot,
// for which CREATE INDEX CONCURRENTLY waits, and with it the process that holds
// the lock. Its key is made from the version table's schema and name, so that two
// services in one database do not wait for each other.
type pgRules struct {
	m      *Migrator
	db     *sql.DB // where watch looks
	pooler bool    // stands in front, so that a session is nothing of one's own
}

var _ rules = (*pgRules)(nil)

func (*pgRules) goose() database.Dialect { return database.DialectPostgres }

// countTables is 1 or 0.
func (*pgRules) countTables() string {
	return "select case when to_regclass($1) is null then 0 else 1 end"
}

func (r *pgRules) table(ctx context.Context, tx *sql.Tx) (name string, err error) {
	err = tx.QueryRowContext(ctx, `select format('%I.%I', n.nspname, c.relname)
		from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = to_regclass($1)`, r.m.opt.table).Scan(&name)
	return name, err
}

func (r *pgRules) role(ctx context.Context) (name string, err error) {
	err = r.m.db.QueryRowContext(ctx, "select quote_ident(current_user)").Scan(&name)
	return name, err
}

// share grants nothing that is granted already: who migrates need not own the
// tables then.
func (r *pgRules) share(ctx context.Context, tx *sql.Tx, table, role string) error {
	may := false
	err := tx.QueryRowContext(ctx, "select has_table_privilege(to_regrole($1), to_regclass($2), 'select') and has_table_privilege(to_regrole($1), to_regclass($3), 'select')",
		role, table, table+"_files").Scan(&may)
	if err != nil || may {
		return err
	}
	_, err = tx.ExecContext(ctx, "grant select on "+table+", "+table+"_files to "+role)
	return err
}

func (*pgRules) noTable(err error) bool { return sqlState(err) == "42P01" }

func (*pgRules) noColumn(err error) bool {
	state := sqlState(err)
	return state == "42703" || state == "42804"
}

// later: lock_timeout, a deadlock, a serialization failure; and a connection that
// is lost, as the version tells whether the transaction was committed. 08P01 is a
// message that the server cannot read, and never will.
func (*pgRules) later(err error) bool {
	if errors.Is(err, dbfx.ErrCommitUnknown) {
		return true
	}
	switch sqlState(err) {
	case "55P03":
		return true
	case "08P01":
		return false
	}
	fault := postgres.Classify(err)
	return fault.Kind == engine.Lost || fault.Kind == engine.Serialization || fault.Unavailable
}

// doubtful: all but what the server has said itself. 40003 and 08007 say that it
// does not know.
func (*pgRules) doubtful(err error) bool {
	state := sqlState(err)
	return state == "" || state == "40003" || state == "08007" || strings.HasPrefix(state, "57P")
}

// txOptions: read committed, so that what is asked under the lock sees what was
// committed before it.
func (*pgRules) txOptions() driver.TxOptions {
	return driver.TxOptions{Isolation: driver.IsolationLevel(sql.LevelReadCommitted)}
}

// key is the lock's number, computed by the server, which knows in which schema
// the table is, or will be. Two roles may find it by different search_paths.
func (r *pgRules) key() string {
	name := strings.ReplaceAll(strings.ToLower(r.m.opt.table), "'", "''")
	place := `coalesce(current_schema(), '') || '.` + name + `'`
	if strings.Contains(name, ".") {
		place = `'` + name + `'`
	}
	return `hashtextextended('dbfx.migrate:' || coalesce((select n.nspname || '.' || c.relname
		from pg_class c join pg_namespace n on n.oid = c.relnamespace
		where c.oid = to_regclass('` + strings.ReplaceAll(r.m.opt.table, "'", "''") + `')), ` + place + `), 0)`
}

// settings are those of a migration: it waits for locks only so long, and for
// itself as long as it must. A server before 14 has no client_connection_check_interval,
// and one on Windows refuses it; without it a backend sees that its client is gone
// only at the end of the statement, and holds the lock until then.
func (r *pgRules) settings(scope string, lock time.Duration) string {
	return fmt.Sprintf("set %[1]s lock_timeout = %[2]d; set %[1]s statement_timeout = 0; set %[1]s idle_in_transaction_session_timeout = 0; "+
		"select set_config(name, '1000', %[3]t) from pg_settings where name = 'client_connection_check_interval' and version() !~* 'visual|mingw|windows'",
		scope, lock.Milliseconds(), scope != "")
}

func (r *pgRules) lock(ctx context.Context, tx *sql.Tx) error {
	if _, err := tx.ExecContext(ctx, r.settings("local", r.m.opt.lockTimeout)); err != nil {
		return err
	}
	var got bool
	err := tx.QueryRowContext(ctx, "select pg_try_advisory_xact_lock("+r.key()+")").Scan(&got)
	if err == nil && !got {
		err = errLocked
	}
	return err
}

func (r *pgRules) holder(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, cleanup)
	defer cancel()
	return r.people(ctx, `l.pid from pg_locks l, (select `+r.key()+` as key) k where l.locktype = 'advisory' and l.granted
		and l.database = (select oid from pg_database where datname = current_database())
		and (l.classid::bigint << 32) | l.objid::bigint = k.key and l.objsubid = 1`)
}

// people names the backends that a query of pids finds, without what they run: a
// statement may hold secrets.
func (r *pgRules) people(ctx context.Context, pids string, args ...any) string {
	rows, err := r.db.QueryContext(ctx, `select a.pid, coalesce(a.application_name, ''), coalesce(a.state, ''),
		coalesce(extract(epoch from clock_timestamp() - a.xact_start), 0)::float8
		from pg_stat_activity a where a.pid in (select `+pids+`) order by a.xact_start limit 5`, args...)
	if err != nil {
		return ""
	}
	defer func() { _ = rows.Close() }()
	var list []string
	for rows.Next() {
		var pid int64
		var app, state string
		var seconds float64
		if rows.Scan(&pid, &app, &state, &seconds) != nil {
			return ""
		}
		list = append(list, fmt.Sprintf("pid %d (%s, %s, in its transaction for %s)", pid, app, state,
			time.Duration(seconds*float64(time.Second)).Round(time.Millisecond)))
	}
	return strings.Join(list, ", ")
}

func (r *pgRules) before(ctx context.Context, conn *sql.Conn, s *step) error {
	if !s.mig.noTx(s.up) {
		return nil
	}
	if r.pooler {
		return s.explain(errors.New("it runs without a transaction, so its lock and its settings need a session of their own, "+
			"and POOLER=transaction gives none; set DATABASE_MIGRATION_URL to the server itself"), statement{}, "")
	}
	if _, err := conn.ExecContext(ctx, r.settings("", r.m.opt.lockTimeout)); err != nil {
		return err
	}
	var got bool
	if err := conn.QueryRowContext(ctx, "select pg_try_advisory_lock("+r.key()+"), pg_backend_pid()").Scan(&got, &s.pid); err != nil {
		return err
	}
	if !got {
		return errLocked
	}
	s.locked = true
	return s.readyBare(ctx, conn)
}

// after gives the lock back, and the settings, to what the connection began with.
func (r *pgRules) after(ctx context.Context, conn *sql.Conn, s *step) error {
	if !s.mig.noTx(s.up) || r.pooler {
		return nil
	}
	if _, err := conn.ExecContext(ctx, "rollback"); err != nil { // such a file may have left a transaction
		return err
	}
	if s.locked {
		var was bool
		if err := conn.QueryRowContext(ctx, "select pg_advisory_unlock("+r.key()+")").Scan(&was); err != nil {
			return err
		}
		if !was {
			return errors.New("it had lost its advisory lock")
		}
	}
	_, err := conn.ExecContext(ctx, "reset lock_timeout; reset statement_timeout; reset idle_in_transaction_session_timeout")
	if err == nil {
		_, err = conn.ExecContext(ctx, "select set_config(name, reset_val, false) from pg_settings where name = 'client_connection_check_interval'")
	}
	return err
}

func (r *pgRules) begun(ctx context.Context, raw link, s *step) error {
	if err := raw.exec(ctx, r.settings("local", r.m.opt.lockTimeout)); err != nil {
		return err
	}
	rows, err := raw.query(ctx, "select pg_try_advisory_xact_lock("+r.key()+"), pg_backend_pid()::bigint")
	if err != nil {
		return err
	}
	if got, _ := rows[0][0].(bool); !got {
		return errLocked
	}
	pid, _ := rows[0][1].(int64)
	s.mu.Lock()
	s.pid = pid
	s.mu.Unlock()
	return s.mustBeOpen(ctx, raw)
}

func (r *pgRules) statement(ctx context.Context, raw link, s *step) (bool, error) {
	if !s.mig.script.noTx {
		return false, nil
	}
	if err := s.mark(ctx, raw); err != nil {
		return false, err
	}
	stmt, _ := s.current()
	tokens := stmt.tokens()
	lock := r.m.opt.lockTimeout
	if follows(tokens, "concurrently") {
		lock = 0 // no reader and no writer queues behind it
	}
	if err := raw.exec(ctx, fmt.Sprintf("set lock_timeout = %d", lock.Milliseconds())); err != nil {
		return false, err
	}
	return r.index(ctx, raw, s, parseIndex(tokens))
}

func (*pgRules) refuse(string, *step) error { return nil }

func (*pgRules) finish(context.Context, querier, *step) error { return nil }

func (r *pgRules) watch(ctx context.Context, s *step) string {
	s.mu.Lock()
	pid := s.pid
	s.mu.Unlock()
	if pid == 0 {
		return ""
	}
	return r.people(ctx, "unnest(pg_blocking_pids($1))", pid)
}
