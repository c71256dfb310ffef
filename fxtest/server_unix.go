//go:build unix

package fxtest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/sergas/dbkit/dbfx"
)

// credential is whom the server runs as, nil for this user.
type credential = *syscall.Credential

// watchdog removes a folder, and ends the server in it, when its input ends, which
// is when this process has: the kernel closes the pipe however it died. Shells are
// everywhere; a goroutine would die with the process.
const watchdog = `
trap '' INT TERM HUP
read line
[ "$line" = keep ] && exit 0
tries=0
while [ -e "$1" ] && [ $tries -lt 100 ]; do # initdb may be at work
	pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null)
	if [ -n "$pid" ]; then
		kill -QUIT "$pid" 2>/dev/null
		n=0
		while [ -e "$1/data/postmaster.pid" ] && [ $n -lt 50 ]; do sleep 0.1; n=$((n+1)); done
		[ -e "$1/data/postmaster.pid" ] && kill -KILL "$pid" 2>/dev/null
	fi
	rm -rf "$1" 2>/dev/null || sleep 0.1
	tries=$((tries+1))
done
`

// startServer starts a private server with the programs in bin, and with extra
// settings of the form name=value.
func startServer(bin string, extra ...string) (*server, error) {
	who, err := serverUser()
	if err != nil {
		return nil, err
	}
	dir, err := serverDir(who)
	if err != nil {
		return nil, err
	}
	life, err := startWatchdog(dir)
	if err != nil {
		_ = os.RemoveAll(dir)
		return nil, err
	}
	password := rand.Text()
	if err := initdb(bin, dir, password, who); err != nil {
		return nil, err
	}
	for try := 0; ; try++ {
		port, err := freePort()
		if err != nil {
			return nil, err
		}
		err = runServer(bin, dir, port, who, extra)
		if err == nil {
			return &server{
				bin: bin, who: who, password: password, port: port,
				life:  life,
				again: func() error { return runServer(bin, dir, port, who, extra) },
				pid:   filepath.Join(dir, "data", "postmaster.pid"),
				admin: fmt.Sprintf("postgres://postgres:%s@127.0.0.1:%d/postgres?sslmode=disable", password, port),
				config: func(database string) dbfx.Config {
					cfg := dbfx.DefaultConfig()
					cfg.Host, cfg.Port, cfg.Name, cfg.User = "127.0.0.1", port, database, "postgres"
					cfg.Password, cfg.SSLMode = dbfx.NewSecret(password), "disable"
					return cfg
				},
			}, nil
		}
		if try == 3 {
			return nil, err // another process may have taken the port each time, but hardly
		}
	}
}

// serverUser returns whom to run the server as, nil for this user: the server
// refuses to run as root.
func serverUser() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.ParseUint(u.Uid, 10, 32)
		gid, gidErr := strconv.ParseUint(u.Gid, 10, 32)
		if uidErr == nil && gidErr == nil {
			return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
		}
	}
	return nil, errors.New("the tests run as root, and there is no user postgres or nobody to run PostgreSQL as")
}

// serverDir makes the server's folder; not in tb.TempDir, which another user
// cannot enter. Memory is faster than a disk, where there is enough.
func serverDir(who *syscall.Credential) (string, error) {
	parent := os.TempDir()
	var fs syscall.Statfs_t
	if syscall.Statfs("/dev/shm", &fs) == nil && uint64(fs.Bavail)*uint64(fs.Bsize) > 1<<30 {
		parent = "/dev/shm"
	}
	dir, err := os.MkdirTemp(parent, "dbfx-pg-")
	if err != nil {
		return "", err
	}
	if who != nil {
		if err := os.Chown(dir, int(who.Uid), int(who.Gid)); err != nil {
			return "", err
		}
	}
	return dir, nil
}

// startWatchdog returns the watchdog's input, which must stay open and referred
// to: the garbage collector closes a file that nothing refers to.
func startWatchdog(dir string) (io.WriteCloser, error) {
	cmd := exec.Command("/bin/sh", "-c", watchdog, "dbfx-watchdog", dir)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a Ctrl-C is not for it
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	return pipe, cmd.Start() // nobody waits: it outlives this process
}

func initdb(bin, dir, password string, who *syscall.Credential) error {
	pwfile := filepath.Join(dir, "password")
	if err := os.WriteFile(pwfile, []byte(password+"\n"), 0o600); err != nil {
		return err
	}
	if who != nil {
		if err := os.Chown(pwfile, int(who.Uid), int(who.Gid)); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "initdb"), "-D", filepath.Join(dir, "data"), "-U", "postgres",
		"--auth-local=trust", "--auth-host=scram-sha-256", "--pwfile="+pwfile,
		"--no-sync", "--no-instructions", "--locale=C", "-E", "UTF8")
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: who}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}

// settings make the server fast and keep what tests of commits rely on:
// synchronous_commit stays on.
var settings = []string{
	"fsync=off", "full_page_writes=off", "autovacuum=off", "jit=off", "max_wal_senders=10", "wal_level=replica",
	"shared_buffers=32MB", "max_connections=300", "dynamic_shared_memory_type=mmap", "max_prepared_transactions=10",
	"logging_collector=off", "lc_messages=C",
}

// runServer starts the server and waits until it says that it is ready.
func runServer(bin, dir string, port int, who *syscall.Credential, extra []string) error {
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	args := []string{"-D", filepath.Join(dir, "data"), "-k", dir, "-p", strconv.Itoa(port), "-c", "listen_addresses=127.0.0.1"}
	for _, s := range slices.Concat(settings, extra) {
		args = append(args, "-c", s)
	}
	cmd := exec.Command(filepath.Join(bin, "postgres"), args...)
	cmd.Dir = dir
	cmd.Stdout, cmd.Stderr = log, log // inherited ones would keep `go test` waiting
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: who, Setpgid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		if ready(filepath.Join(dir, "data", "postmaster.pid")) {
			return cmd.Process.Release() // no goroutine waits for it: a user's goleak would see that
		}
		var status syscall.WaitStatus
		if pid, err := syscall.Wait4(cmd.Process.Pid, &status, syscall.WNOHANG, nil); err == nil && pid != 0 {
			text, _ := os.ReadFile(log.Name())
			return fmt.Errorf("postgres ended with status %d: %s", status.ExitStatus(), bytes.TrimSpace(text))
		}
		if time.Now().After(deadline) {
			break
		}
	}
	_ = cmd.Process.Kill()
	return errors.New("postgres was not ready within a minute")
}

// ready reads the eighth line of postmaster.pid.
func ready(path string) bool {
	text, err := os.ReadFile(path)
	lines := strings.Split(string(text), "\n")
	return err == nil && len(lines) >= 8 && strings.TrimSpace(lines[7]) == "ready"
}
