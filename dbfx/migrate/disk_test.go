//go:build unix

package migrate_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/dbfx/migrate"
	"github.com/sergas/dbkit/fxtest"
)

// A limited child is this test in a process that may make no file longer than a
// mebibyte.
const (
	fileEnv = "DBFX_MIGRATE_FILE" // what it migrates
	blobEnv = "DBFX_MIGRATE_BLOB" // how many bytes it writes
)

func blobs(bytes int) fs.FS {
	return files("00001_t.sql", "create table t (b blob);", "00002_b.sql", fmt.Sprintf("insert into t values (zeroblob(%d));", bytes))
}

func limitedChild() {
	signal.Ignore(syscall.SIGXFSZ)
	bytes, err := strconv.Atoi(os.Getenv(blobEnv))
	if err == nil {
		err = syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 1 << 20, Max: 1 << 20})
	}
	if err != nil {
		panic(err)
	}
	cfg := dbfx.DefaultConfig()
	cfg.SQLitePath = os.Getenv(fileEnv)
	db, err := dbfx.Open(context.Background(), cfg)
	if err != nil {
		panic(err)
	}
	m, err := migrate.New(db, blobs(bytes))
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	done, err := m.Up(ctx)
	fmt.Printf("did %d, unknown %t: %v\n", len(done), errors.Is(err, dbfx.ErrCommitUnknown), err)
	_ = db.Close(context.Background())
}

// TestSQLite_ADiskThatFails: what it fails in the middle is rolled back. Of what it
// fails in the COMMIT no one knows until the next start has read the log: after a
// failed fsync the whole commit may be there.
func TestSQLite_ADiskThatFails(t *testing.T) {
	if os.Getenv(fileEnv) != "" {
		limitedChild()
		return
	}
	t.Parallel()
	for name, tt := range map[string]struct {
		bytes int
		want  []string
	}{
		"InTheStatement": {64 << 20, []string{"did 1, unknown false", "00002_b.sql:2"}},
		"InTheCommit":    {1200 << 10, []string{"did 1, unknown true", "00002_b.sql: commit"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := fxtest.SQLite(t)
			cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()[:strings.Index(t.Name(), "/")]+"$")
			cmd.Env = append(os.Environ(), fileEnv+"="+cfg.File(), blobEnv+"="+strconv.Itoa(tt.bytes))
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			contains(t, strings.TrimSpace(string(out)), tt.want...)
			db := open(t, cfg)
			db.up(t, blobs(tt.bytes))
			if n := db.count(t, "select count(*) from t"); n != 1 {
				t.Errorf("%d rows, want 1", n)
			}
			if n := db.count(t, "select count(*) from goose_db_version where version_id = 2"); n != 1 {
				t.Errorf("version 2 stands %d times", n)
			}
		})
	}
}
