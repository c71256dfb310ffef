package status

import (
	"strings"
	"testing"
	"time"
)

func TestDraw_StandsStillBetweenTwoPoints(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_700_000_000, 0).Truncate(pointLength)
	at := func(seconds int) time.Time { return now.Add(time.Duration(seconds) * time.Second) }
	history := []Point{
		{Time: at(-20), Running: 1, Limit: 4}, {Time: at(-15), Running: 1, Waiting: 1, Limit: 4}, {Time: at(-10), Limit: 4, Down: true},
		{Time: at(0), Running: 4, Limit: 2},
	}
	chart := func(now time.Time) string {
		return string(draw(now, history, 4, func(p Point) float64 { return float64(p.Limit) },
			layer{"running", func(p Point) float64 { return float64(p.Running) }},
			layer{"waiting", func(p Point) float64 { return float64(p.Waiting) }}))
	}
	got := chart(now)
	for _, want := range []string{
		`<path class="down" d="M0 200H177V0H178V200H180V200"/>`,
		`<path class="waiting" d="M0 200H175V150H176V100H177V200H179V0H180V200"/>`, // on top of those that run
		`<path class="running" d="M0 200H175V150H177V200H179V0H180V200"/>`,
		`<path class="limit" d="M175 0H178M179 100H180"/>`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("missing: %s", want)
		}
	}
	if strings.Index(got, "waiting") > strings.Index(got, "running") {
		t.Error("the lower layer is covered")
	}
	if t.Failed() {
		t.Log(got)
	}
	if later := chart(now.Add(pointLength - time.Nanosecond)); later != got {
		t.Error("it moves within a point")
	}
	if later := chart(now.Add(pointLength)); later == got {
		t.Error("it does not move with the next point")
	}
	for _, history := range [][]Point{nil, {{Time: now.Add(-time.Hour), Running: 1}}, {{Time: now.Add(time.Hour), Running: 1}}} {
		if got := string(draw(now, history, 1, nil, layer{"running", func(p Point) float64 { return float64(p.Running) }})); strings.Contains(got, "running") {
			t.Errorf("got %s", got)
		}
	}
}
