//go:build unix

package fxtest_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/dbfx/status"
	"github.com/sergas/dbkit/fxtest"
)

// BenchmarkPage says what the page of dbfx/status costs, in CPU time of the whole
// process, which other processes disturb less than they do the clock.
//
// mounted/none is a session while no one looks, beside one without the page: batches
// by turns, the median of the ratios. again/none is none a second time, and says how
// far to trust it. viewers-N is what N open pages of a database that was busy cost,
// in milliseconds of one core in each second: 10 are one hundredth of it.
func BenchmarkPage(b *testing.B) {
	for name, cfg := range map[string]func(testing.TB) dbfx.Config{"sqlite": fxtest.SQLite, "postgresql": fxtest.Postgres} {
		batch := 50
		if name == "postgresql" {
			batch = 25 // sessions of 20 times the length
		}
		b.Run(name, func(b *testing.B) { pageCosts(b, cfg(b), batch) })
	}
}

func pageCosts(b *testing.B, cfg dbfx.Config, batch int) {
	page := status.New(status.Options{})
	open := func(options ...dbfx.OpenOption) *dbfx.Database {
		db, err := dbfx.Open(b.Context(), cfg, options...)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = db.Close(context.Background()) })
		return db
	}
	names := []string{"none", "again", "mounted"}
	list := []*dbfx.Database{open(), open(), open(dbfx.WithObserver(page.Observer()))}
	page.Watch(list[2])
	server := httptest.NewServer(page)
	b.Cleanup(server.Close)
	b.Cleanup(page.Close)

	took, ratios := make([]float64, len(list)), make([][]float64, len(list))
	var none []float64
	for turn := 0; b.Loop(); turn++ {
		for i := range list {
			i = (i + turn) % len(list) // no one is always first
			before := cpuTime(b)
			for range batch {
				if err := list[i].Sessions().View(b.Context(), twoStatements, dbfx.Name("bench")); err != nil {
					b.Fatal(err)
				}
			}
			took[i] = float64(cpuTime(b) - before)
		}
		none = append(none, took[0]/float64(batch))
		for i := range list {
			ratios[i] = append(ratios[i], took[i]/took[0])
		}
	}
	b.ReportMetric(middle(none), "cpu-ns/session")
	for i := range list[1:] {
		b.ReportMetric(middle(ratios[i+1]), names[i+1]+"/none")
	}
	quiet := looked(b, server.Listener.Addr().String(), 0)
	for _, viewers := range []int{1, 10, 50} {
		b.ReportMetric(looked(b, server.Listener.Addr().String(), viewers)-quiet, fmt.Sprintf("viewers-%d-ms/s", viewers))
	}
}

func middle(list []float64) float64 {
	slices.Sort(list)
	return list[len(list)/2]
}

// looked returns the milliseconds of CPU time that a second takes while so many
// look, and nothing else happens.
func looked(b *testing.B, address string, viewers int) float64 {
	b.Helper()
	const seconds = 4
	var wg sync.WaitGroup
	var lines []net.Conn
	for range viewers {
		line, err := new(net.Dialer).DialContext(b.Context(), "tcp", address)
		if err != nil {
			b.Fatal(err)
		}
		lines = append(lines, line)
		if _, err := fmt.Fprintf(line, "GET /?events HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
			b.Fatal(err)
		}
		wg.Go(func() { _, _ = io.Copy(io.Discard, line) })
		time.Sleep(time.Second / 50) // they do not come at the same moment
	}
	before := cpuTime(b)
	time.Sleep(seconds * time.Second)
	took := cpuTime(b) - before
	for _, line := range lines {
		_ = line.Close()
	}
	wg.Wait()
	return float64(took) / float64(time.Millisecond) / seconds
}

// cpuTime is what this process has used so far.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
