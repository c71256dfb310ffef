package status

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/sergas/dbkit/dbfx"
)

// BenchmarkViewer is what one second costs of a database whose 15 minutes are full:
// drawn once for all who look, and sent to each.
func BenchmarkViewer(b *testing.B) {
	now := time.Now()
	d := Database{Name: "default", Engine: "postgresql", State: dbfx.StateUp, Limit: 15, Running: 7, Rate: 812}
	point := func(at time.Time) Point {
		return Point{
			Time: at.Truncate(pointLength), Running: rand.IntN(12), Waiting: rand.IntN(8), Limit: 15, Committed: rand.Int64N(3000), Read: rand.Int64N(3000),
			RolledBack: rand.Int64N(200), Unknown: rand.Int64N(2), Wait: rand.Float64(),
		}
	}
	for i := range points {
		d.History = append(d.History, point(now.Add(time.Duration(i-points+1)*pointLength)))
	}
	for i := range 12 {
		d.Now = append(d.Now, Session{Name: "place order", Mode: "run", Age: rand.Float64(), Held: 1, Statement: "update stock set amount = amount - ? where item = ?", Caller: "store.go:42 store.place", Backend: uint32(1000 + i)})
		d.Names = append(d.Names, Name{Name: fmt.Sprint("session ", i), Mode: "run", Count: rand.Int64N(1e6)})
		d.Slowest = append(d.Slowest, Statement{Name: "UPDATE stock", Shape: "update stock set amount = amount - ? where item = ?", Count: rand.Int64N(1e6)})
		d.Events = append(d.Events, Event{Time: now, Kind: "slow_session", Text: "a session was slow"})
	}
	v, bytes := newView(), 0
	var last *frame
	var err error
	for i := 0; b.Loop(); i++ {
		d.History[points-1] = point(now)
		d.Now[i%len(d.Now)].Age++
		d.Names[i%len(d.Names)].Count++
		d.Slowest[i%len(d.Slowest)].Count++
		if last, err = v.frame(Snapshot{Time: now, Databases: []Database{d}}, last); err != nil {
			b.Fatal(err)
		}
		if last.number > 1 {
			bytes += len(last.change)
		}
	}
	b.ReportMetric(float64(bytes)/float64(max(b.N-1, 1)), "bytes/update")
}
