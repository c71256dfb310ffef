//go:build linux

package main

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// watchdog ends what still runs and removes the directory when its input ends,
// which is when this process has: the kernel closes the pipe however it died.
// Patroni's PostgreSQL is in a group of its own, and so found by its pid file.
const watchdog = `
trap '' INT TERM HUP
read line
for f in "$1"/pid/*; do kill -KILL "-$(cat "$f")" 2>/dev/null; done
for f in "$1"/*/data/postmaster.pid; do kill -QUIT $(head -n 1 "$f") 2>/dev/null; done
sleep 0.5
for f in "$1"/*/data/postmaster.pid; do kill -KILL $(head -n 1 "$f") 2>/dev/null; done
rm -rf "$1"
`

// directory is where everything has its data, and whom it runs as.
type directory struct {
	path string
	who  *syscall.Credential // nil is this user; the servers refuse root
	life *os.File            // the watchdog's input
}

func newDirectory() (*directory, error) {
	d := &directory{}
	if os.Geteuid() == 0 {
		u, err := user.Lookup("postgres")
		if err != nil {
			return nil, err
		}
		uid, _ := strconv.ParseUint(u.Uid, 10, 32)
		gid, _ := strconv.ParseUint(u.Gid, 10, 32)
		d.who = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	var err error
	if d.path, err = os.MkdirTemp("", "dbfx-cluster-"); err != nil {
		return nil, err
	}
	if err := os.Mkdir(filepath.Join(d.path, "pid"), 0o700); err != nil {
		return nil, err
	}
	if err := d.own(d.path); err != nil {
		return nil, err
	}
	in, out, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer func() { _ = in.Close() }()
	cmd := exec.Command("/bin/sh", "-c", watchdog, "dbfx-cluster-watchdog", d.path)
	cmd.Dir, cmd.Stdin = "/", in
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	d.life = out
	return d, cmd.Start()
}

func (d *directory) own(path string) error {
	if d.who == nil {
		return nil
	}
	return os.Chown(path, int(d.who.Uid), int(d.who.Gid))
}

func (d *directory) write(name, text string) (string, error) {
	path := filepath.Join(d.path, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return "", err
	}
	return path, d.own(path)
}

func (d *directory) mkdir(name string) (string, error) {
	path := filepath.Join(d.path, name)
	if err := os.Mkdir(path, 0o700); err != nil {
		return "", err
	}
	return path, d.own(path)
}

// process is a program in a group of its own.
type process struct {
	name string
	cmd  *exec.Cmd
	done chan struct{}
}

// run starts a program whose output goes to <name>.log.
func (d *directory) run(name string, env []string, program string, args ...string) (*process, error) {
	log, err := os.OpenFile(filepath.Join(d.path, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Env = d.path, append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: d.who, Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	pid := filepath.Join(d.path, "pid", name)
	if err := os.WriteFile(pid, []byte(strconv.Itoa(cmd.Process.Pid)), 0o600); err != nil {
		return nil, err
	}
	p := &process{name: name, cmd: cmd, done: make(chan struct{})}
	go func() {
		_ = cmd.Wait()
		_ = os.Remove(pid) // the number may soon be another program's
		close(p.done)
	}()
	return p, nil
}

// signal reaches the program and what it has started in its group.
func (p *process) signal(s syscall.Signal) { _ = syscall.Kill(-p.cmd.Process.Pid, s) }

// kill ends the program at once and waits for that.
func (p *process) kill() {
	p.signal(syscall.SIGKILL)
	<-p.done
}

// ended reports whether the program runs no more.
func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// tail is the end of a program's log, which goes with the directory.
func (d *directory) tail(name string) string {
	text, _ := os.ReadFile(filepath.Join(d.path, name+".log"))
	return string(text[max(0, len(text)-2000):])
}

// stop asks first.
func (p *process) stop() {
	p.signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(20 * time.Second):
		p.kill()
	}
}

// freePort returns a port below those of outgoing connections, so that none of
// these takes it while a program is being restarted.
func freePort() int {
	for {
		port := 20000 + rand.IntN(12000)
		if l, err := net.Listen("tcp", at(port)); err == nil {
			_ = l.Close()
			return port
		}
	}
}

func at(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
