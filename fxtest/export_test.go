//go:build unix

package fxtest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sergas/dbkit/dbfx"
)

// Server is a PostgreSQL of one test's own, which it may break.
type Server struct{ server *server }

// NewServer starts a server that ends with the test.
func NewServer(tb testing.TB, settings ...string) *Server {
	tb.Helper()
	bin, err := findBinaries()
	if err != nil {
		tb.Skipf("fxtest: no PostgreSQL of one's own: %v", err)
	}
	s, err := startServer(bin, settings...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = s.life.Close() })
	return &Server{s}
}

// Database returns the settings of a new database.
func (s *Server) Database(tb testing.TB) dbfx.Config { return s.server.database(tb, "template0") }

// Port is where the server listens on 127.0.0.1.
func (s *Server) Port() int { return s.server.port }

// Standby starts a streaming standby of the server that ends with the test.
func (s *Server) Standby(tb testing.TB, settings ...string) *Server {
	tb.Helper()
	dir, err := serverDir(s.server.who)
	if err != nil {
		tb.Fatal(err)
	}
	life, err := startWatchdog(dir)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = life.Close() })
	port, err := freePort()
	if err != nil {
		tb.Fatal(err)
	}
	backup := filepath.Join(s.server.bin, "pg_basebackup")
	if _, err := os.Stat(backup); err != nil {
		tb.Skipf("fxtest: no pg_basebackup in %s, and so no standby", s.server.bin)
	}
	cmd := exec.Command(backup, "-D", filepath.Join(dir, "data"), "-R", "-X", "stream", "-c", "fast",
		"-h", "127.0.0.1", "-p", fmt.Sprint(s.server.port), "-U", "postgres")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "PGPASSWORD="+s.server.password)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.server.who}
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("pg_basebackup: %v: %s", err, out)
	}
	standby := *s.server
	standby.port, standby.life, standby.pid = port, life, filepath.Join(dir, "data", "postmaster.pid")
	standby.again = func() error { return runServer(standby.bin, dir, port, standby.who, settings) }
	if err := standby.again(); err != nil {
		tb.Fatal(err)
	}
	return &Server{&standby}
}

// WriteFile writes a file into the server's data directory.
func (s *Server) WriteFile(tb testing.TB, name string, data []byte) {
	tb.Helper()
	path := filepath.Join(filepath.Dir(s.server.pid), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		tb.Fatal(err)
	}
	if s.server.who != nil {
		if err := os.Chown(path, int(s.server.who.Uid), int(s.server.who.Gid)); err != nil {
			tb.Fatal(err)
		}
	}
}

// EnableTLS gives the server a certificate for 127.0.0.1 and returns the path of
// the authority's.
func (s *Server) EnableTLS(tb testing.TB) (authority string) {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		tb.Fatal(err)
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		tb.Fatal(err)
	}
	dir := filepath.Dir(s.server.pid)
	authority = filepath.Join(tb.TempDir(), "ca.pem")
	for path, block := range map[string]*pem.Block{
		filepath.Join(dir, "server.crt"): {Type: "CERTIFICATE", Bytes: certificate},
		filepath.Join(dir, "server.key"): {Type: "EC PRIVATE KEY", Bytes: private},
		authority:                        {Type: "CERTIFICATE", Bytes: certificate},
	} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			tb.Fatal(err)
		}
		if s.server.who != nil {
			if err := os.Chown(path, int(s.server.who.Uid), int(s.server.who.Gid)); err != nil {
				tb.Fatal(err)
			}
		}
	}
	conn, err := pgx.Connect(context.Background(), s.server.admin)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	for _, statement := range []string{"alter system set ssl = on", "select pg_reload_conf()"} {
		if _, err := conn.Exec(context.Background(), statement); err != nil {
			tb.Fatal(err)
		}
	}
	return authority
}

// Signal sends a signal to the postmaster: SIGINT is a fast stop, SIGQUIT a crash.
func (s *Server) Signal(tb testing.TB, signal syscall.Signal) {
	tb.Helper()
	if err := syscall.Kill(s.postmaster(tb), signal); err != nil {
		tb.Fatal(err)
	}
}

// Stop stops the server and waits until it is gone.
func (s *Server) Stop(tb testing.TB, signal syscall.Signal) {
	tb.Helper()
	pid := s.postmaster(tb)
	s.Signal(tb, signal)
	deadline := time.Now().Add(patience)
	for {
		var status syscall.WaitStatus
		if got, err := syscall.Wait4(pid, &status, syscall.WNOHANG, nil); got == pid || err != nil {
			return
		}
		if time.Now().After(deadline) {
			tb.Fatal("the server does not stop")
		}
		time.Sleep(time.Millisecond)
	}
}

// Start starts the stopped server again on the same port.
func (s *Server) Start(tb testing.TB) {
	tb.Helper()
	_ = os.Remove(s.server.pid) // of a server that was killed
	if err := s.server.again(); err != nil {
		tb.Fatal(err)
	}
}

func (s *Server) postmaster(tb testing.TB) int {
	tb.Helper()
	text, err := os.ReadFile(s.server.pid)
	if err != nil {
		tb.Fatal(err)
	}
	var pid int
	if _, err := fmt.Sscan(strings.SplitN(string(text), "\n", 2)[0], &pid); err != nil {
		tb.Fatal(err)
	}
	return pid
}

// Postmaster returns the process of the server that Postgres uses, and its folder.
func Postmaster(tb testing.TB) (pid int, dir string) {
	tb.Helper()
	s, err := findServer()
	if err != nil || s.pid == "" {
		tb.Skip("fxtest: no private server")
	}
	return (&Server{s}).postmaster(tb), filepath.Dir(filepath.Dir(s.pid))
}

// StartAs runs a program that refuses to run as root, in a folder that its user
// may use, until the test ends.
func StartAs(tb testing.TB, name string, args func(dir string) []string) {
	tb.Helper()
	who, err := serverUser()
	if err != nil {
		tb.Fatal(err)
	}
	dir, err := serverDir(who)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	cmd := exec.CommandContext(context.Background(), name, args(dir)...)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: who}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
}

// FreePort returns a port that is free now, and that nothing else of this process gets.
func FreePort(tb testing.TB) int {
	tb.Helper()
	port, err := freePort()
	if err != nil {
		tb.Fatal(err)
	}
	return port
}
