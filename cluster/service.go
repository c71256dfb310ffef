//go:build linux

package main

import (
	"context"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// path is a way from the service to the cluster.
type path struct {
	name   string
	byName bool                                      // only where -paths names it
	start  func(ctx context.Context, s *stack) error // what stands between, nil is nothing of its own
	env    func(s *stack) []string
}

var allPaths = []path{
	{name: "hosts", env: func(s *stack) []string {
		var hosts []string
		for _, n := range s.nodes {
			hosts = append(hosts, at(n.toPostgres.port))
		}
		list := strings.Join(hosts, ",")
		return []string{
			"DATABASE_URL=postgresql://postgres@" + list + "/postgres?sslmode=disable&target_session_attrs=read-write",
			"DATABASE_REPLICA_URL=postgresql://postgres@" + list + "/postgres?sslmode=disable&load_balance_hosts=random",
		}
	}},
	{name: "haproxy", env: func(s *stack) []string {
		return []string{
			"DATABASE_URL=postgresql://postgres@" + at(s.primary) + "/postgres?sslmode=disable&target_session_attrs=read-write",
			"DATABASE_REPLICA_URL=postgresql://postgres@" + at(s.replica) + "/postgres?sslmode=disable",
		}
	}},
	{name: "pgbouncer", start: startPgBouncer, env: func(s *stack) []string {
		return []string{"DATABASE_URL=postgresql://postgres@" + at(s.bouncer) + "/postgres?sslmode=disable", "POOLER=transaction"}
	}},
	{name: "pgpool", start: startPgpool, env: func(s *stack) []string {
		return []string{"DATABASE_URL=postgresql://postgres@" + at(s.pgpool) + "/postgres?sslmode=disable&target_session_attrs=read-write"}
	}},
	{name: "pgpool-nodes", byName: true, start: startPgpoolOnNodes, env: func(s *stack) []string {
		return []string{"DATABASE_URL=postgresql://postgres@" + at(s.pgpoolNodes) + "/postgres?sslmode=disable&target_session_attrs=read-write"}
	}},
}

// pathNames are those that a run without -paths takes.
func pathNames() (names []string) {
	for _, p := range allPaths {
		if !p.byName {
			names = append(names, p.name)
		}
	}
	return names
}

// service is the example, reached over HTTP.
type service struct {
	path string
	base string
}

// startServices builds the example and starts it once for each path.
func (s *stack) startServices(ctx context.Context, names []string) ([]*service, error) {
	binary := filepath.Join(s.dir.path, "app")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", binary, "./example/app").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the example: %w: %s", err, out)
	}
	if err := exec.Command("chmod", "-R", "a+rx", binary).Run(); err != nil {
		return nil, err
	}
	var services []*service
	for _, p := range allPaths {
		if !contains(names, p.name) {
			continue
		}
		if p.start != nil {
			if err := p.start(ctx, s); err != nil {
				return nil, err
			}
		}
		port := freePort()
		env := append([]string{
			"HTTP_ADDR=" + at(port), "HTTP_ADMIN_ADDR=off", "AUDIT_DATABASE_PATH=" + filepath.Join(s.dir.path, "audit-"+p.name+".db"),
			"POOL_SIZE=10", "POOL_TIMEOUT=5", "COMMIT_TIMEOUT=5", "CONNECT_TIMEOUT=2",
		}, p.env(s)...)
		if err := s.startService(ctx, p.name, "http://"+at(port), binary, env); err != nil {
			return nil, err
		}
		services = append(services, &service{path: p.name, base: "http://" + at(port)})
		logf("the example serves through %s", p.name)
	}
	return services, nil
}

func contains(list []string, name string) bool {
	for _, other := range list {
		if other == name {
			return true
		}
	}
	return false
}

// startService starts the example as an orchestrator does, again if it ends, until
// it is ready.
func (s *stack) startService(ctx context.Context, name, base, binary string, env []string) error {
	for deadline := time.Now().Add(3 * time.Minute); time.Now().Before(deadline) && ctx.Err() == nil; {
		p, err := s.dir.run("app-"+name, env, binary, "serve")
		if err != nil {
			return err
		}
		for ctx.Err() == nil && !p.ended() {
			response, err := http.Get(base + "/readyz")
			if err == nil {
				_ = response.Body.Close()
				if response.StatusCode == http.StatusOK {
					s.processes = append(s.processes, p)
					return nil
				}
			}
			settle(ctx, 200*time.Millisecond)
		}
	}
	return fmt.Errorf("the example does not become ready through %s: %s", name, s.dir.tail("app-"+name))
}

// startPgBouncer stands in front of HAProxy's port for the primary.
func startPgBouncer(ctx context.Context, s *stack) error {
	s.bouncer = freePort()
	users, err := s.dir.write("users.txt", "\"postgres\" \"postgres\"\n")
	if err != nil {
		return err
	}
	config, err := s.dir.write("pgbouncer.ini", fmt.Sprintf(`[databases]
postgres = user=postgres host=127.0.0.1 port=%d
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
auth_file = %s
pool_mode = transaction
max_client_conn = 200
default_pool_size = 20
server_connect_timeout = 3
server_login_retry = 1
query_wait_timeout = 10
`, s.primary, s.bouncer, users))
	if err != nil {
		return err
	}
	p, err := s.dir.run("pgbouncer", nil, "/usr/sbin/pgbouncer", config)
	if err == nil {
		s.processes = append(s.processes, p)
		settle(ctx, time.Second)
	}
	return err
}
