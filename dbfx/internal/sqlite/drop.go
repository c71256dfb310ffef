package sqlite

import (
	"context"
	"strings"

	"github.com/sergas/dbkit/dbfx/internal/engine"
)

// DropAll implements engine.Engine. Foreign keys are checked at the commit, when
// no row is left to break one, so the order of the tables does not matter.
func (e *Engine) DropAll(ctx context.Context, tx engine.Execer) error {
	if _, err := tx.ExecContext(ctx, "pragma defer_foreign_keys = 1"); err != nil {
		return err
	}
	// Shadow tables go with their virtual table, and cannot be dropped alone.
	drops, err := queryTexts(ctx, tx, `
		select case type when 'view' then 'drop view ' else 'drop table ' end || '"' || replace(name, '"', '""') || '"'
		from pragma_table_list
		where schema = 'main' and type in ('view', 'table', 'virtual') and name not like 'sqlite\_%' escape '\'
		order by type = 'view' desc, type = 'virtual' desc, name`)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, strings.Join(drops, ";\n"))
	return err
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
