//go:build linux

package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"
)

// startPgpool stands in front of HAProxy's port for the primary, and so decides
// nothing: ALWAYS_PRIMARY keeps it from looking for one, DISALLOW_TO_FAILOVER and no
// health check from detaching what it takes for dead.
func startPgpool(ctx context.Context, s *stack) error {
	s.pgpool = freePort()
	return s.runPgpool(ctx, "pgpool", s.pgpool, fmt.Sprintf(`failover_on_backend_error = off
failover_on_backend_shutdown = off
health_check_period = 0
sr_check_period = 0
backend_hostname0 = '127.0.0.1'
backend_port0 = %d
backend_flag0 = 'ALWAYS_PRIMARY|DISALLOW_TO_FAILOVER'
`, s.primary))
}

// startPgpoolOnNodes asks the three nodes itself who the primary is, and decides by
// itself who is down. It finds a new primary only when it detaches a node, so that
// its health check must be allowed to; and it takes one back only if the primary says
// that a standby of backend_application_name streams from it.
func startPgpoolOnNodes(ctx context.Context, s *stack) error {
	s.pgpoolNodes = freePort()
	config := `failover_on_backend_error = off
failover_on_backend_shutdown = off
sr_check_period = 1
sr_check_user = 'postgres'
sr_check_database = 'postgres'
health_check_period = 1
health_check_timeout = 3
health_check_user = 'postgres'
health_check_max_retries = 0
search_primary_node_timeout = 60
auto_failback = on
auto_failback_interval = 1
`
	for i, n := range s.nodes {
		config += fmt.Sprintf(`backend_hostname%[1]d = '127.0.0.1'
backend_port%[1]d = %[2]d
backend_weight%[1]d = 1
backend_flag%[1]d = 'ALLOW_TO_FAILOVER'
backend_application_name%[1]d = '%[3]s'
`, i, n.toPostgres.port, n.name)
	}
	return s.runPgpool(ctx, "pgpool-nodes", s.pgpoolNodes, config)
}

func (s *stack) runPgpool(ctx context.Context, name string, port int, config string) error {
	dir, err := s.dir.mkdir(name)
	if err != nil {
		return err
	}
	config = fmt.Sprintf(`backend_clustering_mode = 'streaming_replication'
listen_addresses = '127.0.0.1'
port = %d
pcp_listen_addresses = '127.0.0.1'
pcp_port = %d
unix_socket_directories = '%[3]s'
pcp_socket_dir = '%[3]s'
wd_ipc_socket_dir = '%[3]s'
pid_file_name = '%[3]s/pgpool.pid'
logdir = '%[3]s'
num_init_children = 60
enable_pool_hba = off
load_balance_mode = off
connect_timeout = 3000
`, port, freePort(), dir) + config
	file, err := s.dir.write(filepath.Join(name, "pgpool.conf"), config)
	if err != nil {
		return err
	}
	p, err := s.dir.run(name, nil, "pgpool", "-n", "-f", file)
	if err == nil {
		s.processes = append(s.processes, p)
		settle(ctx, 3*time.Second)
	}
	return err
}
