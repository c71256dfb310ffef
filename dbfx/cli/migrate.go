package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/dbfx/migrate"
)

var errNoMigrations = errors.New("there are no migrations here")

// migrate runs one of the subcommands.
func (a App) migrate(ctx context.Context, cfg dbfx.Config, args []string) (int, error) {
	name, version := "up", int64(0)
	if len(args) > 0 {
		name = args[0]
	}
	wants := map[string]int{"up": 0, "to": 1, "down": 0, "status": 0, "plan": 0, "baseline": 1}
	n, known := wants[name]
	if !known || len(args) > n+1 || n == 1 && len(args) != 2 {
		return ExitSettings, a.wrong("migrate: up, to VERSION, down, status, plan or baseline VERSION")
	}
	if n == 1 {
		var err error
		if version, err = strconv.ParseInt(args[1], 10, 64); err != nil || version < 0 {
			return ExitSettings, a.wrong("migrate %s: want a version, got %q", name, args[1])
		}
	}
	if a.Migrations == nil {
		return ExitSettings, errNoMigrations
	}
	return a.open(ctx, cfg, func(db *dbfx.Database) (int, error) {
		m, err := migrate.New(db, a.Migrations, a.Options...)
		if err != nil {
			return ExitFailure, err
		}
		return a.migrateWith(ctx, m, name, version)
	})
}

func (a App) migrateWith(ctx context.Context, m *migrate.Migrator, name string, version int64) (int, error) {
	var done []migrate.Applied
	var err error
	switch name {
	case "status":
		status, err := m.Status(ctx)
		if err != nil {
			return ExitFailure, err
		}
		fmt.Fprint(a.Stdout, status)
		if len(status.Pending()) > 0 {
			return ExitPending, nil
		}
		return ExitOK, nil
	case "plan":
		plan, err := m.Plan(ctx)
		if err != nil {
			return ExitFailure, err
		}
		fmt.Fprint(a.Stdout, plan)
		return ExitOK, nil
	case "baseline":
		return ExitOK, m.Baseline(ctx, version)
	case "to":
		done, err = m.To(ctx, version)
	case "down":
		done, err = m.Down(ctx)
	default:
		done, err = m.Up(ctx)
	}
	for _, d := range done {
		fmt.Fprintf(a.Stdout, "%s %s in %s\n", map[bool]string{true: "up", false: "down"}[d.Up], d.File, d.Took.Round(1e5))
	}
	if err == nil && len(done) == 0 {
		fmt.Fprintln(a.Stdout, "nothing to do")
	}
	return ExitOK, err
}

// seed runs the seeds that have not run.
func (a App) seed(ctx context.Context, cfg dbfx.Config, _ []string) (int, error) {
	if a.Migrations == nil {
		return ExitSettings, errNoMigrations
	}
	return a.open(ctx, cfg, func(db *dbfx.Database) (int, error) {
		m, err := migrate.New(db, a.Migrations, a.Options...)
		if err != nil {
			return ExitFailure, err
		}
		ran, err := m.Seed(ctx)
		for _, name := range ran {
			fmt.Fprintln(a.Stdout, "seeded", name)
		}
		return ExitOK, err
	})
}
