// Command app keeps API tokens over HTTP: a small service to start from.
//
//	app [-env FILE] [serve]    serve HTTP until SIGTERM or SIGINT
//	app [-env FILE] config     print the settings and where each came from
//	app [-env FILE] check      open the databases and exit with their health
//	app [-env FILE] migrate    bring both schemas up to date, and exit
//	app [-env FILE] db …       the database's own commands: url, shell, migrate status, …
//	app [-env FILE] ready      ask the server at HTTP_ADDR whether it is ready
//
// It exits with 2 when the settings are wrong, and 1 when something fails.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/dbfx/cli"
	"github.com/sergas/dbkit/dbfx/migrate"
	"github.com/sergas/dbkit/example/app/web"
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
		fmt.Fprintln(stderr, "usage: app [-env FILE] [serve | config | check | migrate | db … | ready]")
		flags.PrintDefaults()
	}
	envFile := flags.String("env", "", "file of NAME=value lines to add to the environment (default .env, if there is one)")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		return exitSettings
	}
	// Only db has words of its own. "migrate status" would migrate.
	if flags.NArg() > 1 && flags.Arg(0) != "db" {
		fmt.Fprintf(stderr, "%s takes no %q\n", flags.Arg(0), flags.Arg(1))
		flags.Usage()
		return exitSettings
	}
	fromFile, err := loadEnv(*envFile)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return exitSettings
	}
	switch flags.Arg(0) {
	case "config":
		return printConfig(stdout, stderr, fromFile)
	case "db":
		commands := cli.App{Name: "app db", Migrations: files(""), Sources: fromFile, Stdout: stdout, Stderr: stderr}
		return commands.Run(context.Background(), flags.Args()[1:])
	case "ready":
		return ready(stdout, stderr)
	}
	configs, err := loadConfigs()
	if err != nil {
		fmt.Fprintln(stderr, err)
		return exitSettings
	}
	if flags.Arg(0) == "" || flags.Arg(0) == "serve" {
		return serve(configs[""], stderr)
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer cancel()
	switch flags.Arg(0) {
	case "check":
		ctx, cancel := context.WithTimeout(ctx, checkTime)
		defer cancel()
		return each(ctx, configs, stderr, func(name string, db *dbfx.Database) error { return check(ctx, name, db, stdout) })
	case "migrate": // takes as long as it takes
		return each(ctx, configs, stderr, func(name string, db *dbfx.Database) error {
			return migrateUp(ctx, name, db, stdout)
		})
	}
	flags.Usage()
	return exitSettings
}

// databases are the service's, "" for the default one.
var databases = []string{"", audit}

// loadConfigs reads the settings of every database, and tells all faults.
func loadConfigs() (map[string]dbfx.Config, error) {
	configs := map[string]dbfx.Config{}
	var faults error
	for _, name := range databases {
		cfg, err := loadConfig(name)
		configs[name] = cfg
		faults = errors.Join(faults, err)
	}
	return configs, faults
}

func loadConfig(name string) (dbfx.Config, error) {
	if name == "" {
		return dbfx.LoadConfig()
	}
	return dbfx.LoadNamedConfig(name)
}

// printConfig prints every setting, secrets masked, and where it came from.
func printConfig(stdout, stderr io.Writer, fromFile map[string]string) int {
	var settings []dbfx.Setting
	var faults error
	for _, name := range databases {
		own, err := dbfx.Explain(name)
		settings, faults = append(settings, own...), errors.Join(faults, err)
	}
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
	if faults != nil {
		fmt.Fprintln(stderr, faults)
		return exitSettings
	}
	return 0
}

// checkTime bounds the command check.
const checkTime = time.Minute

// each opens each database as serve would, and does something with it.
func each(ctx context.Context, configs map[string]dbfx.Config, stderr io.Writer, do func(name string, db *dbfx.Database) error) int {
	for _, name := range databases {
		db, err := dbfx.Open(ctx, configs[name])
		if err != nil {
			fmt.Fprintln(stderr, err)
			return exitFailure
		}
		err = do(name, db)
		if err = errors.Join(err, db.Close(context.WithoutCancel(ctx))); err != nil {
			fmt.Fprintln(stderr, err)
			return exitFailure
		}
	}
	return 0
}

// title is what the service calls a database.
func title(name string) string {
	if name == "" {
		return "tokens"
	}
	return name
}

func check(ctx context.Context, name string, db *dbfx.Database, stdout io.Writer) error {
	report := db.Health().Check(ctx)
	fmt.Fprintf(stdout, "%s: %s, %s, %s, answered in %s\n", title(name), report.Status, db.Config().Dialect(), report.State, report.Duration)
	if !report.Healthy() {
		return fmt.Errorf("%s is not healthy", title(name))
	}
	return nil
}

func migrateUp(ctx context.Context, name string, db *dbfx.Database, stdout io.Writer) error {
	m, err := migrate.New(db, files(name))
	if err != nil {
		return err
	}
	applied, err := m.Up(ctx)
	for _, one := range applied {
		fmt.Fprintf(stdout, "%s: %s in %s\n", title(name), one.File, one.Took.Round(time.Millisecond))
	}
	if err == nil {
		fmt.Fprintf(stdout, "%s: up to date\n", title(name))
	}
	return err
}

// ready is for a container's health check: the image has no curl.
func ready(stdout, stderr io.Writer) int {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	addr := os.Getenv("HTTP_ADDR")
	if addr == "" {
		addr = web.DefaultAddr
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		fmt.Fprintln(stderr, "HTTP_ADDR: want host:port")
		return exitSettings
	}
	if host == "" || net.ParseIP(host).IsUnspecified() {
		host = "127.0.0.1"
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+"/readyz", nil)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return exitFailure
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return exitFailure
	}
	defer func() { _ = response.Body.Close() }()
	fmt.Fprintln(stdout, response.Status)
	if response.StatusCode != http.StatusOK {
		return exitFailure
	}
	return 0
}
