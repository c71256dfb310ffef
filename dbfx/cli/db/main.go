// Command db runs the commands of the package cli without a service: on the
// database that the environment names, with the migrations of a folder.
//
//	db [-name DATABASE] [-dir FOLDER] COMMAND …
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/sergas/dbkit/dbfx/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("db", flag.ContinueOnError)
	flags.SetOutput(stderr)
	name := flags.String("name", "", "the database called so, whose variables have the prefix NAME_")
	dir := flags.String("dir", "migrations", "the folder of the migrations")
	flags.Usage = func() {
		fmt.Fprintln(flags.Output(), "usage: db [-name DATABASE] [-dir FOLDER] config | url | check | migrate | shell ...")
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return cli.ExitOK
	} else if err != nil {
		return cli.ExitSettings
	}
	if flags.Arg(0) == "migrate" { // before a database is made for it
		if _, err := os.ReadDir(*dir); err != nil {
			fmt.Fprintf(stderr, "db: the folder of the migrations: %v; name it with -dir\n", err)
			return cli.ExitSettings
		}
	}
	return cli.App{Name: "db", Database: *name, Migrations: os.DirFS(*dir), Stdout: stdout, Stderr: stderr}.Run(ctx, flags.Args())
}
