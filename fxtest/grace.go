package fxtest

import "time"

// grace is what something has that is about to end, before it counts as left: a second,
// and a number of looks. When the machine has stood still, the second has passed and
// nothing had the time to end.
type grace struct {
	until time.Time
	looks int
}

func newGrace(now time.Time, looks int) grace { return grace{now.Add(time.Second), looks} }

// over is called at each look that has found it there.
func (g *grace) over(now time.Time) bool {
	g.looks--
	return g.looks <= 0 && now.After(g.until)
}
