package sqlite

import (
	"context"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sergas/dbkit/dbfx/internal/engine"
)

// Name implements engine.Engine.
func (e *Engine) Name(context.Context, engine.Execer) (string, error) {
	if e.opt.Memory {
		return ":memory:", nil
	}
	return filepath.Base(e.path), nil
}

// TakesWrites implements engine.Engine. Only a write finds that the disk is full:
// this one gives user_version the value that it has.
func (e *Engine) TakesWrites(ctx context.Context, tx engine.Execer) (bool, error) {
	version, err := queryTexts(ctx, tx, "select user_version from pragma_user_version")
	if err == nil {
		_, err = tx.ExecContext(ctx, "pragma user_version = "+version[0])
	}
	return true, err
}

// DropAll implements engine.Engine. Foreign keys are checked at the commit, when
// no row is left to break one. user_version, by which some programs know a schema,
// is 0 again.
func (e *Engine) DropAll(ctx context.Context, tx engine.Execer) error {
	if _, err := tx.ExecContext(ctx, "pragma defer_foreign_keys = 1; pragma user_version = 0"); err != nil {
		return err
	}
	views, err := queryTexts(ctx, tx, `select name from pragma_table_list where schema = 'main' and type = 'view' and name not like 'sqlite\_%' escape '\'`)
	if err != nil {
		return err
	}
	// Shadow tables go with their virtual table, and cannot be dropped alone.
	tables, err := queryTexts(ctx, tx, `select name from pragma_table_list
		where schema = 'main' and type in ('table', 'virtual') and name not like 'sqlite\_%' escape '\' order by type = 'virtual' desc, name`)
	if err != nil {
		return err
	}
	keys, err := queryTexts(ctx, tx, `select m.name || char(10) || lower(f."table") from sqlite_schema m, pragma_foreign_key_list(m.name) f where m.type = 'table'`)
	if err != nil {
		return err
	}
	var drops []string
	for _, name := range views {
		drops = append(drops, "drop view "+quote(name))
	}
	for _, name := range childrenFirst(tables, keys) {
		drops = append(drops, "drop table "+quote(name))
	}
	_, err = tx.ExecContext(ctx, strings.Join(drops, ";\n"))
	return err
}

func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// childrenFirst orders tables so that no table is dropped while another refers to
// it, where it can: a foreign key that fits no key of its parent makes the drop
// of the parent fail. keys are "child\nparent".
func childrenFirst(tables, keys []string) []string {
	var ordered []string
	for len(tables) > 0 {
		var later []string
		for _, name := range tables {
			if slices.ContainsFunc(keys, func(key string) bool {
				child, parent, _ := strings.Cut(key, "\n")
				return parent == strings.ToLower(name) && child != name && slices.Contains(tables, child)
			}) {
				later = append(later, name)
			} else {
				ordered = append(ordered, name)
			}
		}
		if len(later) == len(tables) { // a circle
			return append(ordered, later...)
		}
		tables = later
	}
	return ordered
}

func queryTexts(ctx context.Context, tx engine.Execer, query string) ([]string, error) {
	rows, err := tx.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var list []string
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return nil, err
		}
		list = append(list, text)
	}
	return list, rows.Err()
}
