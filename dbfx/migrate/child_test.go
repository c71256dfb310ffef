package migrate_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"

	"go.uber.org/fx"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/dbfx/migrate"
	"github.com/sergas/dbkit/fxtest"
)

// A child is this test binary as one process of a service that migrates when it
// starts. It prints its log, says that it is ready, and ends.
const (
	childEnv = "DBFX_MIGRATE_CHILD"
	pauseEnv = "DBFX_MIGRATE_PAUSE" // how long the statement in the middle of each file takes
)

func child() {
	cfg := dbfx.DefaultConfig()
	cfg.DatabaseURL = dbfx.NewSecret(os.Getenv(childEnv))
	log := zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), os.Stdout, zap.InfoLevel))
	var health *dbfx.Health
	app := fx.New(dbfx.Module, fxtest.Use(cfg), migrate.Module(service(cfg.Dialect())), fx.Supply(log), fx.NopLogger, fx.Populate(&health))
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := app.Start(ctx)
	if err == nil {
		if report := health.Check(ctx); !report.Healthy() {
			err = fmt.Errorf("not ready: %s", report.Reason)
		}
	}
	if err == nil {
		err = app.Stop(ctx)
	}
	if err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
	fmt.Println("ready")
	os.Exit(0)
}

// service has five migrations. Each leaves a row for each time that it was
// committed, and has a statement in its middle that can be made to last.
func service(dialect dbfx.Dialect) fs.FS {
	// goose puts the environment into what stands between the two.
	pause := "-- +goose ENVSUB ON\nselect count(*) from (with recursive c(n) as (select 1 union all select n + 1 from c where n < ${" + pauseEnv + ":-1}) select n from c);\n-- +goose ENVSUB OFF\n"
	bare := "vacuum;\n"
	if dialect == dbfx.Postgres {
		pause = "-- +goose ENVSUB ON\nselect pg_sleep(${" + pauseEnv + ":-0});\n-- +goose ENVSUB OFF\n"
		bare = "create index concurrently ran_n on ran (n);\n"
	}
	list := []string{"00001_log.sql", "create table ran (n integer not null);\ninsert into ran values (1);\n" + pause + "create table a (id integer primary key);"}
	for n := 2; n <= 4; n++ {
		list = append(list, fmt.Sprintf("%05d_more.sql", n), fmt.Sprintf("create table a%[1]d (id integer primary key);\ninsert into ran values (%[1]d);\n%[2]sinsert into a%[1]d values (1);", n, pause))
	}
	list = append(list, "00005_bare.sql", "-- +goose NO TRANSACTION\n-- +goose Up\n"+bare+pause+"insert into ran values (5);")
	return files(list...)
}

// process is a child under way.
type process struct {
	cmd *exec.Cmd

	mu   sync.Mutex
	out  bytes.Buffer
	done chan struct{}
	err  error
}

func start(t *testing.T, cfg dbfx.Config, pause int) *process {
	t.Helper()
	p := &process{cmd: exec.Command(os.Args[0]), done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), childEnv+"="+childURL(cfg))
	if pause > 0 {
		p.cmd.Env = append(p.cmd.Env, pauseEnv+"="+strconv.Itoa(pause))
	}
	pipe, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		for lines := bufio.NewScanner(pipe); lines.Scan(); {
			p.mu.Lock()
			p.out.WriteString(lines.Text() + "\n")
			p.mu.Unlock()
		}
		p.err = p.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.done
	})
	return p
}

func childURL(cfg dbfx.Config) string {
	if path := cfg.File(); path != "" {
		return "sqlite:///" + path
	}
	return cfg.URL()
}

func (p *process) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.String()
}

// mustEnd waits for a child that becomes ready.
func (p *process) mustEnd(t *testing.T) {
	t.Helper()
	<-p.done
	if out := p.output(); p.err != nil || !strings.HasSuffix(out, "ready\n") {
		t.Fatalf("a process did not become ready: %v\n%s", p.err, out)
	}
}

// mustHaveRunOnce looks at what the five migrations have left.
func mustHaveRunOnce(t *testing.T, db *bench) {
	t.Helper()
	for n := 1; n <= 5; n++ {
		if got := db.count(t, "select count(*) from ran where n = $1", n); got != 1 {
			t.Errorf("migration %d was committed %d times", n, got)
		}
		if got := db.count(t, "select count(*) from goose_db_version where version_id = $1", n); got != 1 {
			t.Errorf("version %d stands %d times in goose's table", n, got)
		}
	}
}

// rounds is how often what chance decides is tried: n times, or as often as
// DBFX_MIGRATE_ROUNDS says, such as 20.
func rounds(n int) int {
	if asked, err := strconv.Atoi(os.Getenv("DBFX_MIGRATE_ROUNDS")); err == nil {
		return asked
	}
	return n
}

func TestProcesses_EightThatStartTogetherMigrateOnce(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		for range rounds(2) {
			cfg := fresh(t, cfg.Dialect())
			var all []*process
			for range 8 {
				all = append(all, start(t, cfg, 0))
			}
			for _, p := range all {
				p.mustEnd(t)
			}
			mustHaveRunOnce(t, open(t, cfg))
		}
	})
}

// fresh is an empty database.
func fresh(t *testing.T, dialect dbfx.Dialect) dbfx.Config {
	t.Helper()
	if dialect == dbfx.Postgres {
		return fxtest.Postgres(t)
	}
	return fxtest.SQLite(t)
}

// TestProcesses_OneKilledInTheMiddleOfEachMigration: a process is killed in the
// middle of the first migration, the next in the middle of the second, and so on;
// each next one first does what its predecessor did not.
func TestProcesses_OneKilledInTheMiddleOfEachMigration(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		for range rounds(1) {
			killInEach(t, fresh(t, cfg.Dialect()))
		}
	})
}

func killInEach(t *testing.T, cfg dbfx.Config) {
	t.Helper()
	db := open(t, cfg)
	names := []string{"00001_log.sql", "00002_more.sql", "00003_more.sql", "00004_more.sql", "00005_bare.sql"}
	for i, name := range names {
		if i > 0 { // up to the one before
			if _, err := db.migrator(t, service(cfg.Dialect())).To(t.Context(), int64(i)); err != nil {
				t.Fatal(err)
			}
		}
		p := start(t, cfg, 2_000_000_000)
		waitFor(t, func() bool {
			if cfg.Dialect() == dbfx.Postgres {
				return db.count(t, "select count(*) from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database()") == 1
			}
			return strings.Contains(p.output(), `"still migrating"`) // it is in the statement that lasts
		})
		if err := p.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		<-p.done
		s, err := db.migrator(t, service(cfg.Dialect())).Status(t.Context())
		if err != nil || s.Version != int64(i) || s.Pending()[0] != name {
			t.Errorf("killed in %s: at version %d, %v", name, s.Version, err)
		}
	}
	start(t, cfg, 0).mustEnd(t)
	mustHaveRunOnce(t, db)
}
