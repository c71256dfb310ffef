// Command db runs the commands of the package cli without a service: on the
// database that the environment names, with the migrations of a folder.
//
//	db [-name DATABASE] [-dir FOLDER] COMMAND …
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/sergas/dbkit/dbfx/cli"
)

func main() { os.Exit(run()) }

func run() int {
	flags := flag.NewFlagSet("db", flag.ContinueOnError)
	name := flags.String("name", "", "the database called so, whose variables have the prefix NAME_")
	dir := flags.String("dir", "migrations", "the folder of the migrations")
	flags.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: db [-name DATABASE] [-dir FOLDER] config | url | check | migrate | shell")
		flags.PrintDefaults()
	}
	if err := flags.Parse(os.Args[1:]); err != nil {
		return cli.ExitSettings
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return cli.App{Name: "db", Database: *name, Migrations: os.DirFS(*dir)}.Run(ctx, flags.Args())
}
