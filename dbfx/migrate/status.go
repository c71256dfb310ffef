package migrate

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Status is how the database and the migrations stand to each other.
type Status struct {
	Version int64 // the newest that is applied, 0 if there is none
	Latest  int64 // the newest that there is
	// Migrations are all that either knows, in the order of their versions.
	Migrations []MigrationStatus
}

// MigrationStatus is one migration.
type MigrationStatus struct {
	Version   int64
	File      string // "" where only the database knows the version
	Applied   bool
	AppliedAt time.Time // zero where another tool has applied it
	Changed   bool      // the file is not the one that was applied
	Unknown   bool      // the database is ahead of this program
}

// Pending returns the files that are not applied, oldest first.
func (s Status) Pending() []string {
	var list []string
	for _, m := range s.Migrations {
		if !m.Applied {
			list = append(list, m.File)
		}
	}
	return list
}

// Ahead reports whether the schema is newer than the program.
func (s Status) Ahead() bool { return s.Version > s.Latest }

// String returns a table for people.
func (s Status) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "version %d of %d, %d pending\n", s.Version, s.Latest, len(s.Pending()))
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, m := range s.Migrations {
		state := "pending"
		switch {
		case m.Unknown:
			state = "applied, unknown to this program"
		case m.Changed:
			state = "applied, changed since"
		case m.Applied:
			state = "applied"
		}
		at := ""
		if !m.AppliedAt.IsZero() {
			at = m.AppliedAt.UTC().Format(time.RFC3339)
		}
		fmt.Fprintf(table, "%d\t%s\t%s\t%s\n", m.Version, state, at, m.File)
	}
	_ = table.Flush()
	return b.String()
}

// Status asks the database. It changes nothing: where there is no version table it
// makes none.
func (m *Migrator) Status(ctx context.Context) (Status, error) {
	c, err := m.source.catalog(m.cfg.Dialect())
	if err != nil {
		return Status{}, err
	}
	s, err := m.readState(ctx, m.db)
	if err != nil {
		return Status{}, m.explain(ctx, err)
	}
	m.seen.keep(c, s)
	out := Status{Version: s.version(), Latest: c.latest()}
	changed := s.changed(c)
	for _, mig := range c.list {
		r := s.records[mig.version]
		out.Migrations = append(out.Migrations, MigrationStatus{
			Version: mig.version, File: mig.file, Applied: r.applied, AppliedAt: r.at, Changed: slices.Contains(changed, mig),
		})
	}
	for _, v := range s.order {
		if c.find(v) == nil {
			out.Migrations = append(out.Migrations, MigrationStatus{Version: v, Applied: true, AppliedAt: s.records[v].at, Unknown: true})
		}
	}
	slices.SortFunc(out.Migrations, func(a, b MigrationStatus) int { return int(min(max(a.Version-b.Version, -1), 1)) })
	return out, nil
}
