package migrate

import (
	"context"
	"strings"

	"go.uber.org/zap"
)

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
