// Package cli gives a service commands for its database:
//
//	app db config                           the settings, and where each came from
//	app db url [-sqlalchemy|-async|-psql|-file] [-reveal]
//	                                        where it connects, for other tools
//	app db check                            open it, and say how it is
//	app db migrate [up|to N|down|status|plan|baseline N]
//	app db seed                             fill it for development
//	app db shell [argument …]               psql or sqlite3 on it
//
// In the service's main:
//
//	if len(os.Args) > 1 && os.Args[1] == "db" {
//		os.Exit(cli.App{Name: "app db", Migrations: migrations}.Run(ctx, os.Args[2:]))
//	}
//
// Without a service, in a module that requires dbfx, with the files and the
// environment of its folder:
//
//	go mod edit -tool github.com/sergas/dbkit/dbfx/cli/db
//	go mod tidy
//	go tool db migrate status
package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"text/tabwriter"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/dbfx/migrate"
)

// The exit codes.
const (
	ExitOK       = 0
	ExitFailure  = 1 // it was tried and failed
	ExitSettings = 2 // the settings or the arguments are wrong
	ExitPending  = 3 // migrate status: migrations are pending
)

// App is what the commands need to know of a service. The zero App works, without
// migrations.
type App struct {
	// Name is how the commands are called, for the usage. Defaults to "db".
	Name string
	// Database is the name given to dbfx.Named, "" for the default one.
	Database string
	// Migrations and Options are what the service gives migrate.Module.
	Migrations fs.FS
	Options    []migrate.Option
	// Sources names where a variable of the environment came from, such as a file
	// that was read into it; config shows it.
	Sources map[string]string
	// Stdin, Stdout and Stderr default to the process's.
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// errUsage is an argument that is wrong; the usage has been printed.
var errUsage = errors.New("wrong arguments")

// Run runs the command that args name and returns the exit code. ctx ends it.
func (a App) Run(ctx context.Context, args []string) int {
	a = a.withDefaults()
	if len(args) == 0 {
		a.usage(a.Stderr)
		return ExitSettings
	}
	commands := map[string]func(context.Context, dbfx.Config, []string) (int, error){
		"url": a.url, "check": a.check, "migrate": a.migrate, "seed": a.seed, "shell": a.shell,
	}
	name, args := args[0], args[1:]
	run := commands[name]
	switch {
	case isHelp(name), name != "shell" && name != "url" && len(args) > 0 && isHelp(args[0]): // those two have flags of their own
		a.usage(a.Stdout)
		return ExitOK
	case (name == "config" || name == "check" || name == "seed") && len(args) > 0:
		_ = a.wrong("%s takes no argument, got %q", name, args[0])
		return ExitSettings
	case name == "config":
		return a.config()
	case run == nil:
		_ = a.wrong("no such command: %q", name)
		return ExitSettings
	}
	cfg, err := dbfx.LoadNamedConfig(a.Database)
	if err != nil {
		fmt.Fprintln(a.Stderr, err)
		return ExitSettings
	}
	code, err := run(ctx, cfg, args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return ExitOK
	case errors.Is(err, errUsage):
		return ExitSettings
	case err != nil:
		fmt.Fprintln(a.Stderr, err)
		return max(code, ExitFailure)
	}
	return code
}

func (a App) withDefaults() App {
	if a.Name == "" {
		a.Name = "db"
	}
	if a.Stdin == nil {
		a.Stdin = os.Stdin
	}
	if a.Stdout == nil {
		a.Stdout = os.Stdout
	}
	if a.Stderr == nil {
		a.Stderr = os.Stderr
	}
	return a
}

func isHelp(arg string) bool {
	return arg == "help" || arg == "-h" || arg == "-help" || arg == "--help"
}

func (a App) usage(w io.Writer) {
	fmt.Fprintf(w, `usage: %[1]s config
       %[1]s url [-sqlalchemy | -async | -psql | -file] [-reveal]
       %[1]s check
       %[1]s migrate [up | to VERSION | down | status | plan | baseline VERSION]
       %[1]s seed
       %[1]s shell [argument ...]
`, a.Name)
}

func (a App) wrong(format string, args ...any) error {
	fmt.Fprintf(a.Stderr, a.Name+": "+format+"\n", args...)
	a.usage(a.Stderr)
	return errUsage
}

// config prints every setting, secrets masked, and where it came from.
func (a App) config() int {
	settings, err := dbfx.Explain(a.Database)
	table := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "VARIABLE\tVALUE\tSOURCE")
	for _, s := range settings {
		source := s.Source
		switch {
		case source == "default":
		case a.Sources[source] != "":
			source = a.Sources[source]
		default:
			source = "environment"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\n", s.Variable, s.Value, source)
	}
	_ = table.Flush()
	if err != nil {
		fmt.Fprintln(a.Stderr, err)
		return ExitSettings
	}
	return ExitOK
}

// check opens the database as the service would, and says how it is.
func (a App) check(ctx context.Context, cfg dbfx.Config, _ []string) (int, error) {
	return a.open(ctx, cfg, func(db *dbfx.Database) (int, error) {
		report := db.Health().Check(ctx)
		fmt.Fprintf(a.Stdout, "%s: %s, %s, answered in %s\n", report.Status, cfg.Dialect(), report.State, report.Duration.Round(time.Microsecond))
		if !report.Healthy() {
			return ExitFailure, report.Err
		}
		return ExitOK, nil
	})
}

// open calls fn with the database, and closes it.
func (a App) open(ctx context.Context, cfg dbfx.Config, fn func(*dbfx.Database) (int, error)) (int, error) {
	db, err := dbfx.Open(ctx, cfg, dbfx.WithLogger(a.logger()))
	if err != nil {
		return ExitFailure, err
	}
	code, err := fn(db)
	if closed := db.Close(context.WithoutCancel(ctx)); closed != nil && err == nil {
		return ExitFailure, closed
	}
	return code, err
}

// logger writes for people, on the standard error.
func (a App) logger() *zap.Logger {
	cfg := zap.NewDevelopmentEncoderConfig()
	cfg.EncodeTime = zapcore.TimeEncoderOfLayout("15:04:05.000")
	cfg.CallerKey = ""
	return zap.New(zapcore.NewCore(zapcore.NewConsoleEncoder(cfg), zapcore.AddSync(a.Stderr), zap.InfoLevel))
}
