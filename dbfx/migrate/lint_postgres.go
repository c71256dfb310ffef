package migrate

// postgres looks for what locks a table that is in use, or breaks the program
// that still runs while the next one starts.
func (l *linter) postgres(t []token) {
	switch {
	case begins(t, "create", "index"), begins(t, "create", "unique", "index"):
		l.pgIndex(t)
	case follows(t, "concurrently") && !l.m.script.noTx:
		l.add(t[0], "concurrent-in-transaction", "CONCURRENTLY cannot run in a transaction; put '-- +goose NO TRANSACTION' into a file of its own")
	case begins(t, "alter", "table"):
		l.alterTable(t)
	case begins(t, "set"):
		l.pgSet(t)
	}
}

func (l *linter) pgIndex(t []token) {
	concurrent := follows(t, "index", "concurrently")
	table := ""
	for i := range t {
		if t[i].is("on") {
			rest := t[i+1:]
			if begins(rest, "only") {
				rest = rest[1:]
			}
			table, _, _ = takeName(rest)
			break
		}
	}
	switch {
	case concurrent && !l.m.script.noTx:
		l.add(t[0], "concurrent-in-transaction", "CONCURRENTLY cannot run in a transaction; put '-- +goose NO TRANSACTION' into a file of its own")
	case concurrent && parseIndex(t).name == "":
		l.add(t[0], "unnamed-index", "name the index, so that the next try finds what a broken one has left")
	case !concurrent && !l.made[table]:
		l.add(t[0], "index-not-concurrent", "no row of %s can be written while the index is built; use CREATE INDEX CONCURRENTLY in a file with '-- +goose NO TRANSACTION'", table)
	}
}

// pgSet looks at SET [LOCAL|SESSION] lock_timeout.
func (l *linter) pgSet(t []token) {
	if !follows(t, "lock_timeout") {
		return
	}
	l.timeout = true
	switch last := t[len(t)-1]; last.text {
	case "0", "0s", "0ms", "default":
		l.timeout = false
		l.add(t[0], "lock-timeout", "without a lock_timeout whoever wants the table queues behind the migration")
	}
}

func (l *linter) alterTable(t []token) {
	rest := t[2:]
	for _, w := range [][]string{{"if", "exists"}, {"only"}} {
		if begins(rest, w...) {
			rest = rest[len(w):]
		}
	}
	table, _, rest := takeName(rest)
	if l.made[table] {
		return
	}
	if l.opt.others && !l.timeout {
		l.add(t[0], "lock-timeout", "set lock_timeout before it: whoever wants %s queues behind a statement that waits for its lock", table)
	}
	for _, action := range splitCommas(rest) {
		l.action(table, action)
	}
}

// action is one action of an ALTER TABLE.
func (l *linter) action(table string, t []token) {
	switch {
	case begins(t, "rename"):
		l.add(t[0], "rename", "the program that still runs knows %s by the old name; add the new one, copy, and drop the old one in a later release", table)
	case begins(t, "alter") && (follows(t, "type") || follows(t, "set", "data", "type")):
		l.add(t[0], "column-type", "a change of type may rewrite %s under an exclusive lock; add a column, copy, and drop the old one", table)
	case begins(t, "alter") && follows(t, "set", "not", "null"):
		l.add(t[0], "not-null", "SET NOT NULL reads all of %s under an exclusive lock; add a CHECK (… is not null) NOT VALID, validate it, and set it then", table)
	case begins(t, "add") && isConstraint(t[1:]):
		if (follows(t, "check") || follows(t, "foreign", "key")) && !follows(t, "not", "valid") {
			l.add(t[0], "constraint-not-valid", "all rows of %s are checked under a lock; add it NOT VALID, and VALIDATE CONSTRAINT in the next file", table)
		}
	case begins(t, "add") && follows(t, "not", "null") && !follows(t, "default") && !follows(t, "generated"):
		l.add(t[0], "not-null", "a NOT NULL column without a default fails on every row that is there, and for the program that still runs")
	}
}

// isConstraint reports whether what follows ADD is one, and no column.
func isConstraint(t []token) bool {
	for _, w := range []string{"constraint", "check", "foreign", "unique", "primary", "exclude"} {
		if begins(t, w) {
			return true
		}
	}
	return false
}

// splitCommas cuts tokens at the commas that stand in no parentheses.
func splitCommas(tokens []token) [][]token {
	var list [][]token
	depth, from := 0, 0
	for i, t := range tokens {
		switch {
		case t.is("("):
			depth++
		case t.is(")"):
			depth--
		case t.is(",") && depth == 0:
			list = append(list, tokens[from:i])
			from = i + 1
		}
	}
	return append(list, tokens[from:])
}
