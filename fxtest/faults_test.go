package fxtest_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

// existing makes a file, or something in its place, and returns its settings.
func existing(t *testing.T, change func(path string) error) dbfx.Config {
	t.Helper()
	cfg := fxtest.SQLite(t)
	if err := change(cfg.SQLitePath); err != nil {
		t.Fatal(err)
	}
	return cfg
}

// database makes a database with a table and rows.
func database(path string) error {
	cfg := dbfx.DefaultConfig()
	cfg.SQLitePath = path
	db, err := dbfx.Open(context.Background(), cfg)
	if err != nil {
		return err
	}
	_, err = db.DB().Exec("create table kv (k text, v integer); insert into kv values ('a', 1)")
	if closeErr := db.Close(context.Background()); err == nil {
		err = closeErr
	}
	return err
}

func TestSQLite_OpensWhatItCanAndSaysWhyNot(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		make   func(path string) error
		wantIn string // "" opens
	}{
		"Empty":        {func(p string) error { return os.WriteFile(p, nil, 0o600) }, ""},
		"Existing":     {database, ""},
		"LinkToNew":    {func(p string) error { return os.Symlink(p+".target", p) }, ""},
		"LinkLoop":     {func(p string) error { return os.Symlink(p, p) }, "too many levels"},
		"LinkToNoDir":  {func(p string) error { return os.Symlink("/nowhere/x.db", p) }, "no such file"},
		"Pipe":         {func(p string) error { return syscall.Mkfifo(p, 0o600) }, "not a regular file"},
		"ShortHeader":  {func(p string) error { return os.WriteFile(p, []byte("SQLite format 3\x00short"), 0o600) }, "not a SQLite database"},
		"Truncated":    {func(p string) error { return errorsJoin(database(p), os.Truncate(p, 2000)) }, "damaged"},
		"FutureFormat": {func(p string) error { return errorsJoin(database(p), patch(p, 18, 9)) }, "not a SQLite database"},
		"GarbageWAL": {func(p string) error {
			return errorsJoin(database(p), os.WriteFile(p+"-wal", []byte(strings.Repeat("junk", 5000)), 0o600))
		}, ""},
		"StaleSHM": {func(p string) error {
			return errorsJoin(database(p), os.WriteFile(p+"-shm", []byte(strings.Repeat("junk", 8192)), 0o600))
		}, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := existing(t, tt.make)
			db, err := dbfx.Open(t.Context(), cfg)
			if err == nil {
				var n int
				if err := db.DB().QueryRowContext(t.Context(), "select count(*) from sqlite_schema").Scan(&n); err != nil {
					t.Error(err)
				}
				if err := db.Close(t.Context()); err != nil {
					t.Error(err)
				}
			}
			if (err == nil) != (tt.wantIn == "") || err != nil && !contains(err.Error(), tt.wantIn, "DATABASE_PATH", cfg.SQLitePath) {
				t.Errorf("got %v, want %q", err, tt.wantIn)
			}
		})
	}
}

func errorsJoin(list ...error) error {
	for _, err := range list {
		if err != nil {
			return err
		}
	}
	return nil
}

// patch writes one byte, and the one after it.
func patch(path string, at int64, value byte) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt([]byte{value, value}, at)
	return errorsJoin(err, f.Close())
}

func TestSQLite_StartHonoursItsDeadlineWhileTheFileIsLocked(t *testing.T) {
	t.Parallel()
	cfg := existing(t, func(path string) error { return nil })
	holder, err := sql.Open("sqlite", cfg.SQLitePath) // the driver registers itself; as another program would
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = holder.Close() }()
	conn, err := holder.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.ExecContext(t.Context(), "create table t (x); begin exclusive"); err != nil {
		t.Fatal(err)
	}
	cfg.StartTimeout, cfg.SQLiteBusyTimeout = 3*time.Second, 10*time.Minute
	start := time.Now()
	_, err = dbfx.Open(t.Context(), cfg)
	if err == nil || !contains(err.Error(), cfg.SQLitePath, "DATABASE_PATH", "locked") {
		t.Errorf("got %v", err)
	}
	if took := time.Since(start); took > time.Minute {
		t.Errorf("took %s, the whole busy timeout", took)
	}
	if _, err := conn.ExecContext(t.Context(), "commit"); err != nil {
		t.Fatal(err)
	}
	cfg.StartTimeout = time.Minute
	db, err := dbfx.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	_ = db.Close(t.Context())
}

func TestSQLite_ATransactionLeftOpenByHandDoesNotReachTheNextUser(t *testing.T) {
	t.Parallel()
	app := fxtest.New(t)
	if _, err := app.DB.ExecContext(t.Context(), "create table kv (k text, v integer)"); err != nil {
		t.Fatal(err)
	}
	conn, err := app.DB.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.ExecContext(t.Context(), "begin immediate; insert into kv values ('left', 1)"); err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	// Another process would wait for a lock that the pool holds.
	cfg := app.Config
	cfg.SQLiteBusyTimeout = 50 * time.Millisecond
	other, err := dbfx.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close(context.Background()) }()
	for _, s := range []*dbfx.Sessions{other.Sessions(), app.Sessions} {
		if err := s.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error { return put(ctx, tx, "mine", 1) }); err != nil {
			t.Error(err)
		}
	}
	wantCount(t, app, "left", 0)
	wantCount(t, app, "mine", 2)
}

func TestSQLite_AFullDiskLosesNothingThatWasAcknowledged(t *testing.T) {
	if childPart() {
		signal.Ignore(syscall.SIGXFSZ)
		limit := syscall.Rlimit{Cur: 1 << 20, Max: 1 << 20}
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
			t.Fatal(err)
		}
		cfg := dbfx.DefaultConfig()
		cfg.SQLitePath = os.Getenv("FXTEST_PATH")
		db, err := dbfx.Open(context.Background(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 10_000 {
			err := db.Sessions().Run(context.Background(), func(ctx context.Context, tx *dbfx.Session) error {
				_, err := tx.ExecContext(ctx, "insert into kv values ($1, $2)", strings.Repeat("x", 5000), i)
				return err
			})
			if err != nil {
				fmt.Printf("acknowledged %d, then %v\n", i, err)
				_ = db.Close(context.Background())
				return
			}
		}
		t.Fatal("the disk was never full")
	}
	t.Parallel()
	cfg := existing(t, database)
	out, err := child(t, "FXTEST_PATH="+cfg.SQLitePath).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var acknowledged int
	if _, err := fmt.Sscanf(string(out[strings.Index(string(out), "acknowledged"):]), "acknowledged %d", &acknowledged); err != nil || acknowledged == 0 {
		t.Fatalf("%v\n%s", err, out)
	}
	app := fxtest.New(t, fxtest.Use(cfg))
	var n int
	if err := app.DB.QueryRowContext(t.Context(), "select count(*) - 1 from kv").Scan(&n); err != nil || n < acknowledged || n > acknowledged+1 {
		t.Errorf("got %d rows, %v, %d were acknowledged", n, err, acknowledged)
	}
	if _, err := app.DB.ExecContext(t.Context(), "insert into kv values ('after', 1)"); err != nil {
		t.Error(err)
	}
}

func TestSQLite_RelativePathIsFixedWhenTheDatabaseIsBuilt(t *testing.T) {
	// Not parallel: the working directory is the process's.
	t.Chdir(t.TempDir())
	cfg := dbfx.DefaultConfig()
	cfg.SQLitePath = "here.db"
	db, err := dbfx.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close(context.Background()) }()
	home, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	for i := range 3 { // each has a connection of its own: the one that writes, and new ones that read
		tx, err := db.DB().BeginTx(t.Context(), &sql.TxOptions{ReadOnly: i > 0})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = tx.Rollback() }()
		var file string
		if err := tx.QueryRowContext(t.Context(), "select file from pragma_database_list").Scan(&file); err != nil || file != filepath.Join(home, "here.db") {
			t.Errorf("got %q, %v", file, err)
		}
	}
}
