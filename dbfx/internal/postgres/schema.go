package postgres

import (
	"context"
	"errors"
	"fmt"
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
func (e *Engine) CheckScript(text string) error {
	if line := copyFromStdin(text); line > 0 { // its data is no SQL: read no further
		return fmt.Errorf("COPY … FROM STDIN in line %d has no data here; write INSERT, as pg_dump --inserts does", line)
	}
	return engine.PostgreSQL.CheckControl(text)
}

// copyFromStdin returns the line of the first COPY … FROM STDIN, 0 without one.
func copyFromStdin(text string) int {
	begins, at, last := true, -1, ""
	for l := engine.NewLexer(engine.PostgreSQL, text); l.Next(); {
		word, _ := l.Word()
		switch {
		case l.EndsStatement():
			at = -1
		case begins && engine.IsWord(word, "COPY"):
			at, _ = l.Text()
		case at >= 0 && engine.IsWord(last, "FROM") && engine.IsWord(word, "STDIN"):
			return 1 + strings.Count(text[:at], "\n")
		}
		begins, last = l.EndsStatement(), word
	}
	return 0
}

// Name implements engine.Engine.
func (e *Engine) Name(ctx context.Context, tx engine.Execer) (string, error) {
	return text(ctx, tx, "select current_database()")
}

// TakesWrites implements engine.Engine.
func (e *Engine) TakesWrites(ctx context.Context, tx engine.Execer) (bool, error) {
	readOnly, err := text(ctx, tx, "select current_setting('transaction_read_only')")
	return readOnly == "off", err
}

func currentSchema(ctx context.Context, tx engine.Execer) (string, error) {
	return text(ctx, tx, "select coalesce(current_schema(), '')")
}

// text returns the one text that query gives.
func text(ctx context.Context, tx engine.Execer, query string) (string, error) {
	rows, err := tx.QueryContext(ctx, query)
	if err != nil {
		return "", err
	}
	defer func() { _ = rows.Close() }()
	var value string
	for rows.Next() {
		if err := rows.Scan(&value); err != nil {
			return "", err
		}
	}
	return value, rows.Err()
}

// drops lists a DROP for each object of the current schema that no extension
// owns and that is no part of another. IF EXISTS and CASCADE, as each may have gone
// with one before it.
const drops = `
with here as (select current_schema()::regnamespace as schema), object (turn, class, oid, statement) as (
	select position(c.relkind::text in 'vmfrpS'), c.tableoid, c.oid, format('%s if exists %I.%I',
		case c.relkind when 'v' then 'view' when 'm' then 'materialized view' when 'f' then 'foreign table'
			when 'S' then 'sequence' else 'table' end, current_schema(), c.relname)
	from pg_class c, here where c.relnamespace = here.schema and c.relkind in ('v','m','f','r','p','S')
	union all
	select 10, p.tableoid, p.oid, format('%s if exists %s',
		case p.prokind when 'a' then 'aggregate' when 'p' then 'procedure' else 'function' end, p.oid::regprocedure)
	from pg_proc p, here where p.pronamespace = here.schema
	union all
	select 11, o.tableoid, o.oid, format('operator if exists %s', o.oid::regoperator)
	from pg_operator o, here where o.oprnamespace = here.schema
	union all
	select 12, f.tableoid, f.oid, format('operator family if exists %I.%I using %I', current_schema(), f.opfname, a.amname)
	from pg_opfamily f join pg_am a on a.oid = f.opfmethod, here where f.opfnamespace = here.schema
	union all
	select 13, t.tableoid, t.oid, format('%s if exists %I.%I', case t.typtype when 'd' then 'domain' else 'type' end, current_schema(), t.typname)
	from pg_type t left join pg_class c on c.oid = t.typrelid, here
	where t.typnamespace = here.schema and (t.typtype in ('d','e','r') or t.typtype = 'c' and c.relkind = 'c'
		or t.typtype in ('b','p') and t.typelem = 0)
	union all
	select 14, c.tableoid, c.oid, format('collation if exists %I.%I', current_schema(), c.collname)
	from pg_collation c, here where c.collnamespace = here.schema
	union all
	select 15, c.tableoid, c.oid, format('conversion if exists %I.%I', current_schema(), c.conname)
	from pg_conversion c, here where c.connamespace = here.schema
	union all
	select 16, c.tableoid, c.oid, format('text search configuration if exists %I.%I', current_schema(), c.cfgname)
	from pg_ts_config c, here where c.cfgnamespace = here.schema
	union all
	select 17, d.tableoid, d.oid, format('text search dictionary if exists %I.%I', current_schema(), d.dictname)
	from pg_ts_dict d, here where d.dictnamespace = here.schema
	union all
	select 18, t.tableoid, t.oid, format('text search template if exists %I.%I', current_schema(), t.tmplname)
	from pg_ts_template t, here where t.tmplnamespace = here.schema
	union all
	select 19, p.tableoid, p.oid, format('text search parser if exists %I.%I', current_schema(), p.prsname)
	from pg_ts_parser p, here where p.prsnamespace = here.schema
	union all
	select 20, s.tableoid, s.oid, format('statistics if exists %I.%I', current_schema(), s.stxname)
	from pg_statistic_ext s, here where s.stxnamespace = here.schema
)
select 'drop ' || statement || case when turn = 20 then '' else ' cascade' end from object
where not exists (select 1 from pg_depend d where d.classid = class and d.objid = object.oid and (d.deptype = 'e' or d.deptype = 'i' and turn = 10))
order by turn, statement`

// DropAll implements engine.Engine.
func (e *Engine) DropAll(ctx context.Context, tx engine.Execer) error {
	schema, err := currentSchema(ctx, tx)
	if err == nil && schema == "" {
		err = errors.New("search_path names no schema that exists")
	}
	if err != nil {
		return err
	}
	rows, err := tx.QueryContext(ctx, drops)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	var list []string
	for rows.Next() {
		var statement string
		if err := rows.Scan(&statement); err != nil {
			return err
		}
		list = append(list, statement)
	}
	if err := rows.Err(); err != nil || len(list) == 0 {
		return err
	}
	_, err = tx.ExecContext(ctx, strings.Join(list, ";\n"))
	return err
}
