package migrate

// sqlite looks at the rebuild of a table.
func (l *linter) sqlite(t []token) {
	switch {
	case begins(t, "alter", "table"):
		old, _, rest := takeName(t[2:])
		if begins(rest, "rename", "to") && !l.made[old] {
			l.renamed[old] = true
		}
	case begins(t, "create", "table"):
		if name, _ := parseTable(t); l.renamed[name] {
			l.add(t[0], "rebuild-order", "the foreign keys to %[1]s follow it to its new name; make the new table first, copy, drop %[1]s, and rename the new one last", name)
		}
	case begins(t, "pragma", "foreign_keys"):
		l.keysOff = l.m.script.noTx
		if l.opt.others && !l.m.script.noTx {
			l.add(t[0], "rebuild-foreign-keys", "in a transaction this does nothing, and says nothing")
		}
	case begins(t, "drop", "table"):
		if l.opt.others && !l.keysOff {
			l.add(t[0], "rebuild-foreign-keys", "with foreign keys on this deletes the rows that refer to the table; "+
				"turn them off before, in a file with '-- +goose NO TRANSACTION' and its own BEGIN and COMMIT")
		}
	}
}
