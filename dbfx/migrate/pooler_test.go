//go:build unix

package migrate_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

// pooled puts PgBouncer in transaction mode in front of a database.
func pooled(t *testing.T, cfg dbfx.Config) dbfx.Config {
	t.Helper()
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		if _, err := os.Stat("/usr/sbin/pgbouncer"); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatal("pgbouncer is required here")
			}
			t.Skip("no pgbouncer; Debian has it as a package")
		}
		program = "/usr/sbin/pgbouncer"
	}
	dir, err := os.MkdirTemp("", "dbfx-bouncer-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	ini := filepath.Join(dir, "pgbouncer.ini")
	const port = 6432 // of a socket in a folder of its own: no one else can take it
	text := fmt.Sprintf("[databases]\n%s = host=%s port=%d user=%s password=%s\n[pgbouncer]\nlisten_addr =\nlisten_port = %d\nunix_socket_dir = %s\n"+
		"auth_type = any\npool_mode = transaction\ndefault_pool_size = 4\nmax_client_conn = 200\n",
		cfg.Name, cfg.Host, cfg.Port, cfg.User, cfg.Password.Reveal(), port, dir)
	if err := os.WriteFile(ini, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, ini)
	if os.Getuid() == 0 { // it refuses to run as root
		if err := os.Chown(dir, 65534, 65534); err != nil {
			t.Fatal(err)
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	cfg.Host, cfg.Port, cfg.Pooler = dir, port, dbfx.PoolerTransaction
	return cfg
}

func TestPooler_MigratesInTransactionModeAndOnceForMany(t *testing.T) {
	t.Parallel()
	direct := fxtest.Postgres(t)
	cfg := pooled(t, direct)
	db := open(t, cfg) // waits until it listens
	fsys := files("00001_first.sql", usersAndNotes, "00002_more.sql", "insert into users values (1, 'a');", "00003_slow.sql", "select pg_sleep(0.2);\ninsert into users values (2, 'b');")
	results := make(chan error, 6)
	for range 6 {
		other := open(t, cfg)
		go func() {
			_, err := other.migrator(t, fsys).Up(t.Context())
			results <- err
		}()
	}
	for range 6 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if n := db.count(t, "select count(*) from users"); n != 2 {
		t.Errorf("%d users, want 2", n)
	}
	// Nothing of a migration stays on the connections of the others.
	for range 8 {
		if n := db.count(t, "select count(*) from pg_settings where name in ('lock_timeout', 'statement_timeout') and setting <> '0'"); n != 0 {
			t.Fatal("a setting of a migration has leaked to a connection of the pooler")
		}
	}

	bare := files("00001_first.sql", usersAndNotes, "00002_more.sql", "insert into users values (1, 'a');", "00003_slow.sql", "select pg_sleep(0.2);\ninsert into users values (2, 'b');",
		"00004_bare.sql", "-- +goose NO TRANSACTION\n-- +goose Up\ncreate index concurrently users_name on users (name);")
	_, err := db.migrator(t, bare).Up(t.Context())
	if err == nil {
		t.Fatal("a migration without a transaction ran through the pooler")
	}
	contains(t, err.Error(), "00004_bare.sql", "DATABASE_MIGRATION_URL")

	around := cfg
	around.DatabaseMigrationURL = dbfx.NewSecret(direct.URL())
	open(t, around).up(t, bare)
	if n := db.count(t, "select count(*) from pg_indexes where indexname = 'users_name'"); n != 1 {
		t.Error("the index is missing")
	}
}
