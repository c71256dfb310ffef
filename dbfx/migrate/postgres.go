package migrate

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/pressly/goose/v3/database"
	"go.uber.org/zap"

	"github.com/sergas/dbkit/dbfx/internal/engine"
)

// pgRules are PostgreSQL's.
//
// The advisory lock is tried and never waited for: a blocked one has a snapshot,
// for which CREATE INDEX CONCURRENTLY waits, and with it the process that holds
// the lock. Its key is made from the schema and the table, so that two services
// in one database do not wait for each other.
type pgRules struct {
	m      *Migrator
	db     *sql.DB // where watch looks
	pooler bool    // stands in front, so that a session is nothing of one's own
}

var _ rules = (*pgRules)(nil)

func (*pgRules) goose() database.Dialect { return database.DialectPostgres }

func (*pgRules) countTables() string {
	return "select case when to_regclass($1) is null then 0 else 1 end"
}

func (*pgRules) noTable(err error) bool { return sqlState(err) == "42P01" }

// later: lock_timeout, a deadlock, a serialization failure; and a connection that
// is lost, as the version tells whether the transaction was committed.
func (*pgRules) later(err error) bool {
	switch state := sqlState(err); {
	case state == "55P03", state == "40P01", state == "40001":
		return true
	case strings.HasPrefix(state, "57P"), strings.HasPrefix(state, "08"):
		return true
	case state != "":
		return false
	}
	var network net.Error
	return errors.Is(err, driver.ErrBadConn) || errors.Is(err, engine.ErrLostReply) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &network)
}

// txOptions: read committed, so that what is asked under the lock sees what was
// committed before it.
func (*pgRules) txOptions() driver.TxOptions {
	return driver.TxOptions{Isolation: driver.IsolationLevel(sql.LevelReadCommitted)}
}

// key is the lock's number, computed by the server, which knows the schema.
func (r *pgRules) key() string {
	return `hashtextextended('dbfx.migrate:' || coalesce(current_schema(), '') || '.` + r.m.opt.table + `', 0)`
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

// index looks for what an earlier try has left of an index that is built or
// dropped concurrently. An INVALID one costs writes and serves no query, and with
// IF NOT EXISTS PostgreSQL would leave it so.
func (r *pgRules) index(ctx context.Context, raw link, s *step, i indexStatement) (bool, error) {
	if i.name == "" {
		return false, nil
	}
	rows, err := raw.query(ctx, `select i.indisvalid, format('%I.%I', n.nspname, c.relname) from pg_index i
		join pg_class c on c.oid = i.indexrelid join pg_namespace n on n.oid = c.relnamespace
		where c.relname = $1 and case when $2 = '' then c.oid = to_regclass($3) else i.indrelid = to_regclass($2) end`,
		i.name, i.table, i.path)
	if err != nil {
		return false, err
	}
	if i.drop {
		return s.resumesHere() && len(rows) == 0, nil
	}
	if len(rows) == 0 {
		return false, nil
	}
	valid, _ := rows[0][0].(bool)
	name, _ := rows[0][1].(string)
	if valid {
		return s.resumesHere(), nil
	}
	r.m.log.Warn("dropping an index that an earlier try has left invalid", file(s), zap.String("index", name))
	return false, raw.exec(ctx, "drop index concurrently if exists "+name)
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

// indexStatement is a CREATE or DROP INDEX CONCURRENTLY.
type indexStatement struct {
	drop bool
	name string // of the index; "" where the statement is something else
	path string // the index as the statement names it
	// table is where it is made, as the statement names it.
	table string
}

func parseIndex(tokens []token) indexStatement {
	var i indexStatement
	skip := func(words ...string) bool {
		ok := begins(tokens, words...)
		if ok {
			tokens = tokens[len(words):]
		}
		return ok
	}
	switch {
	case skip("create", "unique", "index", "concurrently"), skip("create", "index", "concurrently"):
		skip("if", "not", "exists")
		if len(tokens) == 0 || tokens[0].is("on") {
			return indexStatement{} // the server names it
		}
		i.name, i.path, tokens = takeName(tokens)
		if !skip("on") {
			return indexStatement{}
		}
		skip("only")
		_, i.table, _ = takeName(tokens)
	case skip("drop", "index", "concurrently"):
		skip("if", "exists")
		i.drop = true
		i.name, i.path, _ = takeName(tokens)
	}
	return i
}

// takeName reads a name with what stands before its dots. The path is quoted.
func takeName(tokens []token) (name, path string, rest []token) {
	for len(tokens) > 0 && tokens[0].isName() {
		name = tokens[0].text
		path += `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
		tokens = tokens[1:]
		if !begins(tokens, ".") {
			break
		}
		path += "."
		tokens = tokens[1:]
	}
	return name, path, tokens
}
