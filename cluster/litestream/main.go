//go:build linux

// Command litestream runs litestream beside a service that writes to SQLite
// through dbfx, kills the service, restores the copy, and compares it with what
// was acknowledged.
//
//	go run ./cluster/litestream -program /usr/bin/litestream
//
// The service sets SQLITE_WAL_MB=0: litestream must see each frame of the WAL
// before a checkpoint may begin it anew, and so it alone makes them.
package main

import (
	"context"
	"database/sql"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	_ "modernc.org/sqlite" // reads the copy

	"github.com/sergas/dbkit/dbfx"
)

func main() {
	program := flag.String("program", "litestream", "litestream 0.5")
	writing := flag.Duration("writing", 10*time.Second, "how long the service writes")
	child := flag.String("service", "", "be the service on this file (used by the command itself)")
	flag.Parse()
	var err error
	if *child != "" {
		err = serve(*child)
	} else {
		err = run(*program, *writing)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// serve writes until it is killed, and prints each number once it is committed.
func serve(path string) error {
	cfg := dbfx.DefaultConfig()
	cfg.SQLitePath, cfg.SQLiteWALMB = path, 0
	db, err := dbfx.Open(context.Background(), cfg)
	if err != nil {
		return err
	}
	if _, err := db.DB().Exec("create table if not exists acknowledged (n integer primary key, filling text)"); err != nil {
		return err
	}
	var next atomic.Int64
	var out sync.Mutex
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				n := next.Add(1)
				err := db.Sessions().Run(context.Background(), func(ctx context.Context, tx *dbfx.Session) error {
					_, err := tx.ExecContext(ctx, "insert into acknowledged values ($1, hex(randomblob(200)))", n)
					return err
				})
				if err != nil {
					fmt.Fprintln(os.Stderr, n, err)
					continue
				}
				out.Lock()
				_, _ = os.Stdout.WriteString(strconv.FormatInt(n, 10) + "\n")
				out.Unlock()
			}
		})
	}
	wg.Wait()
	return nil
}

// run plays the recipe.
func run(program string, writing time.Duration) error {
	dir, err := os.MkdirTemp("", "dbfx-litestream-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	file, replica, copied := filepath.Join(dir, "app.db"), "file://"+filepath.Join(dir, "replica"), filepath.Join(dir, "copy.db")

	told, err := os.Create(filepath.Join(dir, "acknowledged"))
	if err != nil {
		return err
	}
	defer func() { _ = told.Close() }()
	service := start(told, os.Args[0], "-service", file)
	if err := service.Start(); err != nil {
		return err
	}
	for {
		if _, err := os.Stat(file); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	stream := start(os.Stderr, program, "replicate", file, replica)
	if err := stream.Start(); err != nil {
		return err
	}
	time.Sleep(writing)
	wal, err := os.Stat(file + "-wal")
	if err != nil {
		return err
	}
	_ = service.Process.Kill()
	_ = service.Wait()
	time.Sleep(3 * time.Second) // litestream sends each second
	_ = stream.Process.Signal(syscall.SIGTERM)
	_ = stream.Wait()
	if out, err := exec.Command(program, "restore", "-o", copied, replica).CombinedOutput(); err != nil {
		return fmt.Errorf("restore: %w: %s", err, out)
	}
	return compare(told.Name(), copied, wal.Size())
}

// start prepares a program that ends with this one.
func start(out *os.File, program string, args ...string) *exec.Cmd {
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = out, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

func compare(told, copied string, wal int64) error {
	text, err := os.ReadFile(told)
	if err != nil {
		return err
	}
	db, err := sql.Open("sqlite", copied)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	var verdict string
	if err := db.QueryRow("pragma integrity_check").Scan(&verdict); err != nil || verdict != "ok" {
		return fmt.Errorf("integrity_check: %s, %v", verdict, err)
	}
	acknowledged, missing := 0, 0
	var line []byte
	for _, c := range text {
		if c != '\n' {
			line = append(line, c)
			continue
		}
		var found int
		if err := db.QueryRow("select count(*) from acknowledged where n = ?", string(line)).Scan(&found); err != nil {
			return err
		}
		acknowledged++
		missing += 1 - found
		line = line[:0]
	}
	var rows int
	if err := db.QueryRow("select count(*) from acknowledged").Scan(&rows); err != nil {
		return err
	}
	fmt.Printf("%d acknowledged, %d of them missing in the copy, which has %d; the WAL was %.1f MB at the end\n", acknowledged, missing, rows, float64(wal)/1e6)
	if missing > 0 || acknowledged == 0 {
		return fmt.Errorf("the copy is not what was acknowledged")
	}
	return nil
}
