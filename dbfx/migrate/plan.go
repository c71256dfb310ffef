package migrate

import (
	"context"
	"fmt"
	"math"
	"strings"
)

// Plan is what Up would run.
type Plan struct {
	Version int64 // of the database now
	Steps   []PlanStep
}

// PlanStep is one migration.
type PlanStep struct {
	Version int64
	File    string
	// Statements are as the file has them; none for a Go migration.
	Statements []string
	// NoTransaction: what ran stays when a later statement fails.
	NoTransaction bool
	// ForeignKeysOff: SQLite's are off around the transaction, and checked in it.
	ForeignKeysOff bool
	// OutOfOrder: it is older than the version of the database.
	OutOfOrder bool
}

// String returns the plan as SQL with comments.
func (p Plan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "-- at version %d, %d pending\n", p.Version, len(p.Steps))
	for _, s := range p.Steps {
		fmt.Fprintf(&b, "\n-- %s", s.File)
		for note, on := range map[string]bool{" without a transaction": s.NoTransaction} {
			if on {
				b.WriteString(note)
			}
		}
		if s.ForeignKeysOff {
			b.WriteString(", foreign keys off and checked before the commit")
		}
		if s.OutOfOrder {
			b.WriteString(", out of order")
		}
		b.WriteString("\n")
		if len(s.Statements) == 0 {
			b.WriteString("-- Go code, or nothing\n")
		}
		for _, text := range s.Statements {
			b.WriteString(text + "\n")
		}
	}
	return b.String()
}

// Plan returns what Up would run now. It changes nothing.
func (m *Migrator) Plan(ctx context.Context) (Plan, error) {
	c, err := m.source.catalog(m.cfg.Dialect())
	if err != nil {
		return Plan{}, err
	}
	s, err := m.readState(ctx, m.db)
	if err != nil {
		return Plan{}, m.explain(ctx, err)
	}
	p := Plan{Version: s.version()}
	for _, mig := range s.pending(c, math.MaxInt64) {
		step := PlanStep{
			Version: mig.version, File: mig.file, NoTransaction: mig.noTx(true), OutOfOrder: mig.version < p.Version,
			ForeignKeysOff: m.rules.goose() == "sqlite3" && mig.rebuilds(true),
		}
		for _, stmt := range mig.script.up {
			step.Statements = append(step.Statements, stmt.text)
		}
		p.Steps = append(p.Steps, step)
	}
	return p, nil
}
