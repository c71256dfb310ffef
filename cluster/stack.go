//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// stack is the cluster: etcd, three nodes of Patroni and PostgreSQL, HAProxy.
type stack struct {
	dir         *directory
	bin         string
	etcd        *process
	nodes       []*node
	haproxy     *process
	primary     int // HAProxy's ports
	replica     int
	bouncer     int
	pgpool      int
	pgpoolNodes int
	processes   []*process // the services and what stands in front of them

	taken *node      // the primary that the last event took
	undo  chan error // what puts it back, while it does
}

// node is one Patroni with its PostgreSQL. Others reach it through lines.
type node struct {
	name           string
	dir            string
	config         string
	postgres, rest int // its own ports
	toPostgres     *line
	toREST, toEtcd *line
	patroni        *process
}

// start starts everything and waits until there are a leader, a synchronous
// standby and a replica.
func (s *stack) start(ctx context.Context) error {
	bins, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	if len(bins) == 0 {
		return errors.New("no PostgreSQL in /usr/lib/postgresql: install postgresql, patroni, etcd-server and haproxy")
	}
	s.bin = bins[len(bins)-1]
	client, peer := freePort(), freePort()
	var err error
	s.etcd, err = s.dir.run("etcd", []string{"ETCD_UNSUPPORTED_ARCH=arm64"}, "etcd", "--data-dir", filepath.Join(s.dir.path, "etcd"),
		"--listen-client-urls", "http://"+at(client), "--advertise-client-urls", "http://"+at(client),
		"--listen-peer-urls", "http://"+at(peer), "--initial-advertise-peer-urls", "http://"+at(peer), "--initial-cluster", "default=http://"+at(peer))
	if err != nil {
		return err
	}
	for i := range 3 {
		n := &node{name: fmt.Sprintf("n%d", i+1), postgres: freePort(), rest: freePort()}
		if n.dir, err = s.dir.mkdir(n.name); err != nil {
			return err
		}
		lines := []**line{&n.toPostgres, &n.toREST, &n.toEtcd}
		for j, target := range []int{n.postgres, n.rest, client} {
			if *lines[j], err = newLine(target); err != nil {
				return err
			}
		}
		if n.config, err = s.dir.write(n.name+".yml", s.patroniConfig(n)); err != nil {
			return err
		}
		s.nodes = append(s.nodes, n)
	}
	for _, n := range s.nodes {
		if err := s.startNode(n); err != nil {
			return err
		}
		settle(ctx, 2*time.Second)
	}
	if err := s.startHAProxy(); err != nil {
		return err
	}
	return s.whole(ctx, 3*time.Minute)
}

func (s *stack) startNode(n *node) (err error) {
	n.patroni, err = s.dir.run(n.name, nil, "patroni", n.config)
	return err
}

func (s *stack) patroniConfig(n *node) string {
	return fmt.Sprintf(`scope: dbfx
name: %[1]s
restapi: {listen: "%[2]s", connect_address: "%[3]s"}
etcd3: {host: "%[4]s", use_proxies: true}
bootstrap:
  dcs:
    ttl: 20
    loop_wait: 3
    retry_timeout: 5
    synchronous_mode: true
    postgresql:
      use_pg_rewind: true
      parameters: {wal_log_hints: "on", shared_buffers: 32MB, max_connections: 200, fsync: "off", wal_sender_timeout: 5s, wal_receiver_timeout: 5s}
  initdb: [{encoding: UTF8}, data-checksums]
postgresql:
  listen: "%[5]s"
  connect_address: "%[6]s"
  data_dir: %[7]s/data
  bin_dir: %[8]s
  pgpass: %[7]s/pgpass
  parameters: {unix_socket_directories: %[7]s}
  authentication:
    replication: {username: replicator, password: replicator}
    superuser: {username: postgres, password: postgres}
    rewind: {username: rewinder, password: rewinder}
  pg_hba: [local all all trust, host all all 127.0.0.1/32 trust, host replication all 127.0.0.1/32 trust]
`, n.name, at(n.rest), at(n.toREST.port), at(n.toEtcd.port), at(n.postgres), at(n.toPostgres.port), n.dir, s.bin)
}

// startHAProxy sends one port to whoever says that it is the primary, and one to
// the replicas.
func (s *stack) startHAProxy() error {
	s.primary, s.replica = freePort(), freePort()
	config := "global\n\tmaxconn 500\ndefaults\n\tmode tcp\n\ttimeout client 30m\n\ttimeout server 30m\n\ttimeout connect 4s\n\ttimeout check 2s\n"
	for path, port := range map[string]int{"primary": s.primary, "replica": s.replica} {
		config += fmt.Sprintf("listen %s\n\tbind %s\n\toption httpchk OPTIONS /%s\n\thttp-check expect status 200\n\tdefault-server inter 1s fall 2 rise 1 on-marked-down shutdown-sessions\n", path, at(port), path)
		for _, n := range s.nodes {
			config += fmt.Sprintf("\tserver %s %s check port %d\n", n.name, at(n.toPostgres.port), n.toREST.port)
		}
	}
	file, err := s.dir.write("haproxy.cfg", config)
	if err != nil {
		return err
	}
	s.haproxy, err = s.dir.run("haproxy", nil, "haproxy", "-db", "-f", file)
	return err
}

// member is what Patroni says of a node.
type member struct {
	Name, Role, State string
}

// members asks the nodes themselves, past their lines, until one answers.
func (s *stack) members(ctx context.Context) []member {
	client := http.Client{Timeout: 2 * time.Second}
	for _, n := range s.nodes {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at(n.rest)+"/cluster", nil)
		if err != nil {
			continue
		}
		response, err := client.Do(request)
		if err != nil {
			continue
		}
		var cluster struct{ Members []member }
		err = json.NewDecoder(response.Body).Decode(&cluster)
		_ = response.Body.Close()
		if err == nil && len(cluster.Members) > 0 {
			return cluster.Members
		}
	}
	return nil
}

// whole waits until there are a leader, a synchronous standby and a replica.
func (s *stack) whole(ctx context.Context, patience time.Duration) error {
	deadline := time.Now().Add(patience)
	for {
		roles := map[string]int{}
		members := s.members(ctx)
		for _, m := range members {
			if m.State == "running" || m.State == "streaming" {
				roles[m.Role]++
			}
		}
		if roles["leader"] == 1 && roles["sync_standby"] == 1 && roles["replica"] == 1 {
			return nil
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			return fmt.Errorf("the cluster did not become whole: %+v\n%s", members, s.dir.tail("n1")+s.dir.tail("n2")+s.dir.tail("n3"))
		}
		settle(ctx, 300*time.Millisecond)
	}
}

// leader returns the primary.
func (s *stack) leader(ctx context.Context) (*node, error) {
	for _, m := range s.members(ctx) {
		if m.Role != "leader" {
			continue
		}
		for _, n := range s.nodes {
			if n.name == m.Name {
				return n, nil
			}
		}
	}
	return nil, errors.New("there is no leader")
}

// postmaster is the node's PostgreSQL, 0 if it does not run.
func (n *node) postmaster() (pid int) {
	text, _ := os.ReadFile(filepath.Join(n.dir, "data", "postmaster.pid"))
	first, _, _ := strings.Cut(string(text), "\n")
	_, _ = fmt.Sscan(first, &pid)
	return pid
}

// kill ends Patroni and PostgreSQL at once.
func (n *node) kill() {
	pid := n.postmaster()
	n.patroni.kill()
	if pid > 0 {
		// A postmaster that is killed leaves its children for a moment: they are ended too.
		signalTree(pid, syscall.SIGKILL)
	}
}

// freeze stops Patroni and PostgreSQL in their tracks, or lets them go on.
func (n *node) freeze(on bool) {
	s := syscall.SIGCONT
	if on {
		s = syscall.SIGSTOP
	}
	n.patroni.signal(s)
	if pid := n.postmaster(); pid > 0 {
		signalTree(pid, s)
	}
}

// cutOff takes the node off the network.
func (n *node) cutOff(on bool) {
	for _, l := range []*line{n.toPostgres, n.toREST, n.toEtcd} {
		l.set(on)
	}
}

// signalTree signals a process and its children.
func signalTree(pid int, s syscall.Signal) {
	children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	_ = syscall.Kill(pid, s)
	for _, field := range strings.Fields(string(children)) {
		var child int
		if _, err := fmt.Sscan(field, &child); err == nil {
			_ = syscall.Kill(child, s)
		}
	}
}

// end asks what still runs to stop; the watchdog does the rest.
func (s *stack) end() {
	for _, p := range s.processes {
		p.stop()
	}
	_ = s.dir.life.Close()
}
