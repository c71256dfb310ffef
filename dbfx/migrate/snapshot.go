package migrate

import (
	"context"
	"database/sql/driver"
	"fmt"
	"slices"
	"strings"
)

// snapshot is what a rebuild on SQLite must not break: which rows refer to
// nothing, which foreign keys refer to no table, and what stands on each table.
type snapshot struct {
	orphans  map[string][]string // rows, by table and parent
	dangling map[string]bool     // "child refers to parent"
	tables   map[string]bool
	attached map[string]string // "index i" or "trigger t" to its table
}

// texts is a query whose columns are texts, "" for NULL.
type texts interface {
	texts(ctx context.Context, query string) ([][]string, error)
}

type rawQuerier struct{ raw link }

func (q rawQuerier) texts(ctx context.Context, query string) ([][]string, error) {
	rows, err := q.raw.query(ctx, query)
	if err != nil {
		return nil, err
	}
	var list [][]string
	for _, row := range rows {
		list = append(list, textsOf(row))
	}
	return list, nil
}

func textsOf(row []driver.Value) []string {
	out := make([]string, len(row))
	for i, v := range row {
		if v != nil {
			out[i] = fmt.Sprint(v)
		}
	}
	return out
}

type sqlQuerier struct{ q querier }

func (q sqlQuerier) texts(ctx context.Context, query string) ([][]string, error) {
	rows, err := q.q.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	columns, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	var list [][]string
	for rows.Next() {
		values, into := make([]driver.Value, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		list = append(list, textsOf(values))
	}
	return list, rows.Err()
}

func takeSnapshot(ctx context.Context, q texts) (*snapshot, error) {
	s := &snapshot{orphans: map[string][]string{}, dangling: map[string]bool{}, tables: map[string]bool{}, attached: map[string]string{}}
	objects, err := q.texts(ctx, `select type, name, tbl_name from sqlite_schema where name not like 'sqlite\_%' escape '\'`)
	if err != nil {
		return nil, err
	}
	for _, o := range objects {
		switch o[0] {
		case "table":
			s.tables[strings.ToLower(o[1])] = true
		case "index", "trigger":
			s.attached[o[0]+" "+o[1]] = strings.ToLower(o[2])
		}
	}
	keys, err := q.texts(ctx, `select m.name, f."table" from sqlite_schema m, pragma_foreign_key_list(m.name) f where m.type = 'table'`)
	if err != nil {
		return nil, err
	}
	children := map[string]bool{}
	for _, k := range keys {
		children[k[0]] = true
		if !s.tables[strings.ToLower(k[1])] {
			s.dangling[k[0]+" refers to "+k[1]] = true
		}
	}
	for child := range children {
		if err := s.check(ctx, q, child); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// check asks for the rows of a table that refer to nothing. That a key fits no
// parent is an error of the check; it is kept as if it were a row.
func (s *snapshot) check(ctx context.Context, q texts, child string) error {
	rows, err := q.texts(ctx, `pragma foreign_key_check("`+strings.ReplaceAll(child, `"`, `""`)+`")`)
	if err != nil {
		if !strings.Contains(err.Error(), "foreign key mismatch") {
			return err
		}
		s.orphans[child+" (its foreign key fits no unique key)"] = []string{"any"}
		return nil
	}
	for _, r := range rows {
		where := child + " whose row in " + r[2] + " is missing"
		row := r[1]
		if row == "" {
			row = "without a rowid"
		}
		s.orphans[where] = append(s.orphans[where], row)
	}
	return nil
}

// broken returns an error for what refers to nothing now, and did not before.
func (s *snapshot) broken(now *snapshot) error {
	for where, rows := range now.orphans {
		if more := len(rows) - len(s.orphans[where]); more > 0 {
			shown := rows[:min(len(rows), 5)]
			return fmt.Errorf("foreign_key_check: it would leave %d rows of %s: rowid %s", more, where, strings.Join(shown, ", "))
		}
	}
	for key := range now.dangling {
		if !s.dangling[key] {
			return fmt.Errorf("foreign_key_check: afterwards %s, and there is no such table; make the new table first, "+
				"copy, drop the old one, and rename the new one last", key)
		}
	}
	return nil
}

// lost are the indexes and triggers that went with a table that is there again.
func (s *snapshot) lost(now *snapshot) []string {
	var list []string
	for name, table := range s.attached {
		if _, kept := now.attached[name]; !kept && now.tables[table] {
			list = append(list, name+" on "+table)
		}
	}
	slices.Sort(list)
	return list
}
