//go:build linux

package main

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5"
)

// verdict is what became of one load.
type verdict struct {
	acked, missing          int
	denied, deniedPresent   int
	unknown, unknownPresent int
	reads, unread           int
	down                    time.Duration // from the event to the new primary's first write
	late                    time.Duration // from there to the first acknowledgement; negative is never
	gap                     time.Duration // the longest time without one

	// takenBack is that the primary which the event took is one again, although
	// another was promoted and wrote: the cluster has undone what that one took, and
	// no client can know.
	takenBack bool
}

// compare reads the rows from the primary itself.
func (s *stack) compare(ctx context.Context, l *load, began, wrote time.Time) (verdict, error) {
	leader, err := s.leader(ctx)
	if err != nil {
		return verdict{}, err
	}
	conn, err := pgx.Connect(ctx, "postgres://postgres@"+at(leader.postgres)+"/postgres?sslmode=disable")
	if err != nil {
		return verdict{}, err
	}
	defer func() { _ = conn.Close(ctx) }()
	rows, err := conn.Query(ctx, "select name from tokens where starts_with(name, $1)", l.prefix)
	if err != nil {
		return verdict{}, err
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return verdict{}, err
	}
	present := map[string]bool{}
	for _, name := range names {
		present[name] = true
	}
	v := verdict{acked: len(l.acked), denied: len(l.denied), unknown: len(l.unknown), reads: l.reads, unread: l.unread}
	v.takenBack = leader == s.taken && !wrote.IsZero()
	v.missing = len(l.acked) - count(l.acked, present)
	v.deniedPresent = count(l.denied, present)
	v.unknownPresent = count(l.unknown, present)
	if !wrote.IsZero() {
		v.down = wrote.Sub(began)
	}
	last, late := began, time.Duration(-1)
	for _, at := range l.times {
		if at.Before(began) {
			continue
		}
		v.gap = max(v.gap, at.Sub(last))
		last = at
		if late < 0 && !wrote.IsZero() && at.After(wrote) {
			late = at.Sub(wrote)
		}
	}
	v.late, v.gap = late, max(v.gap, l.ended.Sub(last))
	return v, nil
}

func count(names []string, present map[string]bool) (n int) {
	for _, name := range names {
		if present[name] {
			n++
		}
	}
	return n
}

// table is the verdict for people.
type table struct {
	text strings.Builder
	out  *tabwriter.Writer
	lost int
}

func newTable() *table {
	t := &table{}
	t.out = tabwriter.NewWriter(&t.text, 0, 0, 1, ' ', 0)
	fmt.Fprintln(t.out, "| event\t| path\t| acknowledged\t| missing\t| denied\t| present\t| unknown\t| present\t| reads\t| failed\t| new primary\t| first write after it\t| longest gap\t|")
	fmt.Fprintln(t.out, "|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|")
	return t
}

func (t *table) add(event, path string, v verdict) {
	t.lost += v.deniedPresent
	missing := fmt.Sprint(v.missing)
	if v.takenBack {
		missing += " (taken back)"
	} else {
		t.lost += v.missing
	}
	fmt.Fprintf(t.out, "| %s\t| %s\t| %d\t| %s\t| %d\t| %d\t| %d\t| %d\t| %d\t| %d\t| %s\t| %s\t| %s\t|\n", event, path,
		v.acked, missing, v.denied, v.deniedPresent, v.unknown, v.unknownPresent, v.reads, v.unread,
		seconds(v.down), seconds(v.late), seconds(v.gap))
	logf("%s through %s: %+v", event, path, v)
}

func seconds(d time.Duration) string {
	if d < 0 {
		return "never"
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

func (t *table) String() string {
	_ = t.out.Flush()
	return t.text.String()
}
