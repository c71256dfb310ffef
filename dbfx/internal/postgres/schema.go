package postgres

import (
	"context"
	"errors"
	"strings"

	"github.com/sergas/dbkit/dbfx/internal/engine"
)

// LockSchema implements engine.Engine. Two CREATE TABLE IF NOT EXISTS at once
// fail on a unique index of the catalog. The number is "dbfx" in ASCII.
func (e *Engine) LockSchema(ctx context.Context, tx engine.Execer) error {
	_, err := tx.ExecContext(ctx, "select pg_advisory_xact_lock($1)", int64(0x64626678))
	return err
}

// CheckScript implements engine.Engine. A server with standard_conforming_strings
// off reads strings otherwise, which a connection knows and checks again.
func (e *Engine) CheckScript(text string) error { return engine.PostgreSQL.CheckControl(text) }

// drops lists a DROP for each object of the current schema that no extension
// owns. IF EXISTS and CASCADE, as each may have gone with one before it.
const drops = `
select format('drop %s if exists %I.%I cascade', kind, current_schema(), name) from (
	select case c.relkind when 'v' then 'view' when 'm' then 'materialized view' when 'f' then 'foreign table'
		when 'S' then 'sequence' else 'table' end as kind, c.relname as name, c.oid,
		position(c.relkind::text in 'vmfrpS') as turn
	from pg_class c where c.relnamespace = current_schema()::regnamespace and c.relkind in ('v','m','f','r','p','S')
	union all
	select case t.typtype when 'd' then 'domain' else 'type' end, t.typname, t.oid, 10
	from pg_type t left join pg_class c on c.oid = t.typrelid
	where t.typnamespace = current_schema()::regnamespace
		and (t.typtype in ('d','e','r') or t.typtype = 'c' and c.relkind = 'c')
) object
where not exists (select 1 from pg_depend d where d.objid = object.oid and d.deptype = 'e')
order by turn, name`

// DropAll implements engine.Engine.
func (e *Engine) DropAll(ctx context.Context, tx engine.Execer) error {
	rows, err := tx.QueryContext(ctx, drops)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	var list []string
	for rows.Next() {
		var statement *string
		if err := rows.Scan(&statement); err != nil {
			return err
		}
		if statement == nil {
			return errors.New("search_path names no schema that exists")
		}
		list = append(list, *statement)
	}
	if err := rows.Err(); err != nil || len(list) == 0 {
		return err
	}
	_, err = tx.ExecContext(ctx, strings.Join(list, ";\n"))
	return err
}
