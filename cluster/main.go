//go:build linux

// Command cluster starts a PostgreSQL cluster on this machine, as Patroni, etcd
// and HAProxy make it, runs the example against it while the cluster is switched
// over, killed, frozen, cut off and restarted, and says what became of the data.
//
//	go run ./cluster [-events switchover,kill,…] [-paths hosts,haproxy,…]
//
// It wants Debian's packages patroni, etcd-server, haproxy and postgresql, and for
// the paths pgbouncer and pgpool those too. Everything listens on 127.0.0.1, has its data in
// a temporary directory, and ends with this process, however that ends.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	events := flag.String("events", strings.Join(eventNames(), ","), "what is done to the cluster, in this order")
	paths := flag.String("paths", strings.Join(pathNames(), ","), "how the service reaches it; pgpool-nodes only by its name")
	clients := flag.Int("clients", 3, "clients of each path")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, strings.Split(*events, ","), strings.Split(*paths, ","), *clients); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run plays each event, and fails if an acknowledged row is missing or a denied
// one is there.
func run(ctx context.Context, events, paths []string, clients int) error {
	dir, err := newDirectory()
	if err != nil {
		return err
	}
	s := &stack{dir: dir}
	if err := s.start(ctx); err != nil {
		return err
	}
	defer s.end()
	services, err := s.startServices(ctx, paths)
	if err != nil {
		return err
	}
	probe := startProbe(ctx, s.nodes)
	defer probe.end()
	table := newTable()
	for _, name := range events {
		i := slices.IndexFunc(allEvents, func(e event) bool { return e.name == name })
		if i < 0 {
			return fmt.Errorf("no event %q: there are %s", name, strings.Join(eventNames(), ", "))
		}
		logf("%s: %s", name, allEvents[i].what)
		if err := s.play(ctx, allEvents[i], services, probe, clients, table); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	fmt.Print(table)
	if table.lost > 0 {
		return fmt.Errorf("%d rows are not what the clients were told", table.lost)
	}
	return nil
}

// play loads every service, does one thing to the cluster, lets it recover, and
// compares.
func (s *stack) play(ctx context.Context, e event, services []*service, probe *probe, clients int, t *table) error {
	if err := s.whole(ctx, 3*time.Minute); err != nil {
		return err
	}
	loads := make([]*load, len(services))
	for i, service := range services {
		loads[i] = startLoad(ctx, service, e.name, clients)
	}
	settle(ctx, 5*time.Second)
	began := time.Now()
	if err := e.do(ctx, s); err != nil {
		return err
	}
	since := began
	if s.taken == nil {
		since = time.Now() // the old primary wrote until now
	}
	wrote := probe.writableAfter(ctx, since, s.taken)
	if s.undo != nil {
		if err := <-s.undo; err != nil {
			return err
		}
		s.undo = nil
	}
	settle(ctx, 15*time.Second)
	if err := s.whole(ctx, 3*time.Minute); err != nil {
		return err
	}
	for i, l := range loads {
		l.stop()
		v, err := s.compare(ctx, l, began, wrote)
		if err != nil {
			return err
		}
		t.add(e.name, services[i].path, v)
	}
	return nil
}

// settle waits.
func settle(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

func logf(format string, args ...any) {
	fmt.Fprintf(os.Stderr, time.Now().Format("15:04:05 ")+format+"\n", args...)
}
