// Command app keeps API tokens over HTTP: a small service to start from.
//
//	app [-env FILE] [serve]    serve HTTP until SIGTERM or SIGINT
//	app [-env FILE] config     print the settings and where each came from
//	app [-env FILE] check      open the database and exit with its health
//
// It exits with 2 when the settings are wrong, and 1 when something fails.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/sergas/dbkit/dbfx"
)

const (
	exitFailure  = 1
	exitSettings = 2
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("app", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprintln(stderr, "usage: app [-env FILE] [serve | config | check]")
		flags.PrintDefaults()
	}
	envFile := flags.String("env", "", "file of NAME=value lines to add to the environment (default .env, if there is one)")
	if err := flags.Parse(args); err != nil {
		return exitSettings
	}
	fromFile, err := loadEnv(*envFile)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return exitSettings
	}
	cfg, err := dbfx.LoadConfig()
	if command := flags.Arg(0); command == "config" {
		return printConfig(stdout, stderr, fromFile)
	}
	if err != nil {
		fmt.Fprintln(stderr, err)
		return exitSettings
	}
	switch flags.Arg(0) {
	case "", "serve":
		return serve(stderr)
	case "check":
		return check(cfg, stdout, stderr)
	}
	flags.Usage()
	return exitSettings
}

// printConfig prints every setting, secrets masked, and where it came from.
func printConfig(stdout, stderr io.Writer, fromFile map[string]string) int {
	settings, err := dbfx.Explain("")
	table := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "VARIABLE\tVALUE\tSOURCE")
	for _, s := range settings {
		source := s.Source
		switch {
		case source == "default":
		case fromFile[s.Variable] != "":
			source = fromFile[s.Variable]
		default:
			source = "environment"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\n", s.Variable, s.Value, source)
	}
	_ = table.Flush()
	if err != nil {
		fmt.Fprintln(stderr, err)
		return exitSettings
	}
	return 0
}

// check opens the database as serve would, and says how it is.
func check(cfg dbfx.Config, stdout, stderr io.Writer) int {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	db, err := dbfx.Open(ctx, cfg)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return exitFailure
	}
	report := db.Health().Check(ctx)
	fmt.Fprintf(stdout, "%s: %s, %s, answered in %s\n", report.Status, cfg.Dialect(), report.State, report.Duration)
	if err := db.Close(ctx); err != nil {
		fmt.Fprintln(stderr, err)
		return exitFailure
	}
	if !report.Healthy() {
		return exitFailure
	}
	return 0
}
