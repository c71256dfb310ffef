package migrate

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"slices"
	"time"
)

// record is what the database knows of a version.
type record struct {
	version  int64
	applied  bool
	checksum string    // "" where goose's CLI or a Go migration wrote it
	at       time.Time // zero where goose's CLI wrote it
	done     int       // statements of a run without a transaction that did not end
	prefix   string    // of those, see prefixOf
}

// state is what the database says.
type state struct {
	tables  bool // both are there
	records map[int64]record
	order   []int64 // the applied ones in the order in which they were applied
}

// applied reports whether a version is.
func (s state) applied(version int64) bool { return s.records[version].applied }

// version is the newest that is applied, 0 if there is none.
func (s state) version() int64 {
	newest := int64(0)
	for _, v := range s.order {
		newest = max(newest, v)
	}
	return newest
}

// pending are the migrations up to target that are not applied, oldest first.
func (s state) pending(c *catalog, target int64) []*migration {
	var list []*migration
	for _, m := range c.list {
		if m.version <= target && !s.applied(m.version) {
			list = append(list, m)
		}
	}
	return list
}

// late are those of list that are older than what is applied.
func (s state) late(list []*migration) []*migration {
	newest := s.version()
	return slices.DeleteFunc(slices.Clone(list), func(m *migration) bool { return m.version > newest })
}

// changed are the applied migrations whose file is not what was applied.
func (s state) changed(c *catalog) []*migration {
	var list []*migration
	for _, m := range c.list {
		if r := s.records[m.version]; r.applied && r.checksum != "" && m.checksum != "" && r.checksum != m.checksum {
			list = append(list, m)
		}
	}
	return list
}

// querier is what a *sql.DB, a *sql.Conn and a *sql.Tx have in common.
type querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// readState asks once: a start with nothing to do must cost little. Where a
// table is missing it asks once more.
func (m *Migrator) readState(ctx context.Context, db querier) (state, error) {
	s, err := m.readRecords(ctx, db, fmt.Sprintf(`
		select v.version_id, case when v.is_applied then 1 else 0 end, f.checksum, f.applied_at, f.statements_done, f.prefix, v.id
		from %[1]s v left join %[1]s_files f on f.version_id = v.version_id
		union all
		select f.version_id, 0, f.checksum, f.applied_at, f.statements_done, f.prefix, 0
		from %[1]s_files f where f.version_id not in (select version_id from %[1]s)
		order by 7`, m.opt.table))
	if err == nil {
		s.tables = true
		return s, nil
	}
	if !m.rules.noTable(err) {
		return state{}, m.unreadable(err)
	}
	s, err = m.readRecords(ctx, db, fmt.Sprintf(`
		select version_id, case when is_applied then 1 else 0 end, null, null, null, null, id from %s order by id`, m.opt.table))
	if err != nil && m.rules.noTable(err) {
		return state{records: map[int64]record{}}, nil
	}
	return s, m.unreadable(err)
}

// unreadable adds the table to an error of reading it, and what to do about it.
func (m *Migrator) unreadable(err error) error {
	switch {
	case err == nil:
		return nil
	case sqlState(err) == "42501":
		return fmt.Errorf("read %[1]s: %[2]w; grant the service's role SELECT on %[1]s and %[1]s_files, "+
			"or set DATABASE_MIGRATION_URL, as whose role a start with MIGRATIONS=run grants it", m.opt.table, err)
	case m.rules.noColumn(err):
		return fmt.Errorf("read %[1]s: %[2]w; the table is not goose's, which has the columns id, version_id and is_applied: "+
			"name another one with migrate.Table", m.opt.table, err)
	}
	return fmt.Errorf("read %s: %w", m.opt.table, err)
}

func (m *Migrator) readRecords(ctx context.Context, db querier, query string) (state, error) {
	s := state{records: map[int64]record{}}
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return s, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var r record
		var applied, id int64
		var checksum, at, prefix sql.NullString
		var done sql.NullInt64
		if err := rows.Scan(&r.version, &applied, &checksum, &at, &done, &prefix, &id); err != nil {
			return s, err
		}
		if r.version == 0 { // goose's mark that the table is its own
			continue
		}
		r.applied, r.checksum, r.done, r.prefix = applied != 0, checksum.String, int(done.Int64), prefix.String
		if at.String != "" {
			r.at, _ = time.Parse(time.RFC3339Nano, at.String)
		}
		s.records[r.version] = r // an old goose kept a row for each up and down; the last counts
		s.order = slices.DeleteFunc(s.order, func(v int64) bool { return v == r.version })
		if r.applied {
			s.order = append(s.order, r.version)
		}
	}
	return s, rows.Err()
}

// prefixOf is the mark of the first n statements: a run that was broken off may
// go on after them only if they are still the same.
func prefixOf(list []statement, n int) string {
	sum := sha256.New()
	for _, s := range list[:n] {
		addTo(sum, s)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

func addTo(sum hash.Hash, s statement) { _, _ = io.WriteString(sum, s.text+"\x00") }
