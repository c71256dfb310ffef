package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"

	"github.com/sergas/dbkit/dbfx"
)

// shell runs psql or sqlite3 on the database, with args after what it needs. The
// password goes by the environment: every user of the machine can read a command
// line.
func (a App) shell(ctx context.Context, cfg dbfx.Config, args []string) (int, error) {
	cmd, err := shellCommand(cfg, args)
	if err != nil {
		return ExitFailure, err
	}
	if _, err := exec.LookPath(cmd.Path); err != nil {
		return ExitFailure, fmt.Errorf("%s is not installed", cmd.Args[0])
	}
	if cmd.Args[0] == "sqlite3" {
		a.warnOfOldSQLite(ctx, cmd.Path)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = a.Stdin, a.Stdout, a.Stderr
	// Ctrl-C is the shell's: it cancels a query there, and must not end us first.
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt)
	defer signal.Stop(interrupts)
	err = cmd.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return max(exit.ExitCode(), ExitFailure), nil
	}
	return ExitOK, err
}

func shellCommand(cfg dbfx.Config, args []string) (*exec.Cmd, error) {
	if cfg.Dialect() == dbfx.SQLite {
		file := cfg.File()
		if file == "" {
			return nil, errors.New("a database in memory has no shell")
		}
		// As the service has it: foreign keys on, and a wait for its locks.
		return exec.Command("sqlite3", append([]string{"-cmd", "pragma foreign_keys=on", "-cmd", ".timeout 5000", file}, args...)...), nil
	}
	where, password := withoutSecrets(cfg.URL(), "")
	cmd := exec.Command("psql", append([]string{where}, args...)...)
	cmd.Env = os.Environ()
	if password != "" {
		cmd.Env = append(cmd.Env, "PGPASSWORD="+password)
	}
	return cmd, nil
}

// warnOfOldSQLite: SQLite before 3.51.3 can damage a file in WAL mode that another
// process uses at the same time.
func (a App) warnOfOldSQLite(ctx context.Context, path string) {
	out, err := exec.CommandContext(ctx, path, "--version").Output()
	var major, minor, patch int
	if _, scan := fmt.Sscanf(string(out), "%d.%d.%d", &major, &minor, &patch); err != nil || scan != nil {
		return
	}
	if major*1_000_000+minor*1_000+patch < 3_051_003 {
		fmt.Fprintf(a.Stderr, "warning: this sqlite3 is %d.%d.%d, and before 3.51.3 one can damage a file that a service writes; read, or stop the service\n", major, minor, patch)
	}
}
