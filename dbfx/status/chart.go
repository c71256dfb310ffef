package status

import (
	"fmt"
	"html/template"
	"math"
	"strings"
	"time"
)

// The size of a chart in its own units, which CSS stretches to what room there is: a
// unit to the right for each point of the history, and steps finer than a pixel
// upwards. Whole numbers are short, and an open page is sent the charts every second:
// paths of them are a fifth of polygons with a decimal.
const (
	chartWidth  = points
	chartHeight = 200
)

// layer is one area of a chart. Those of one chart stand on each other.
type layer struct {
	class string
	of    func(Point) float64
}

// draw returns a chart of the last 15 minutes, with spans in which the database
// was down behind it. It is made of numbers and of names of classes, so that no
// text of a user comes into it. most is the value at its top.
//
// Its right end is that of the point under way, so that it moves when a point ends and
// not with every second.
func draw(now time.Time, history []Point, most float64, limit func(Point) float64, layers ...layer) template.HTML {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg class="chart" viewBox="0 0 %d %d" preserveAspectRatio="none" aria-hidden="true" focusable="false">`, chartWidth, chartHeight)
	for at := 1; at < 4; at++ {
		fmt.Fprintf(&b, `<path class="grid" d="M0 %dH%d"/>`, at*chartHeight/4, chartWidth)
	}
	c := curve{end: now.Truncate(pointLength).Add(pointLength), most: most, history: history}
	trace := func(class, steps string) {
		if steps != "" {
			fmt.Fprintf(&b, `<path class="%s" d="%s"/>`, class, steps)
		}
	}
	trace("down", c.area(func(p Point) float64 {
		if p.Down {
			return most
		}
		return 0
	}))
	// The highest sum is drawn first, and the lower ones over it.
	for n := len(layers); n > 0; n-- {
		trace(layers[n-1].class, c.area(func(p Point) (sum float64) {
			for _, l := range layers[:n] {
				sum += l.of(p)
			}
			return sum
		}))
	}
	if limit != nil {
		trace("limit", c.line(limit))
	}
	b.WriteString("</svg>")
	return template.HTML(b.String()) //nolint:gosec // numbers and constants alone
}

// curve places the points of a history on a chart.
type curve struct {
	end     time.Time // at its right end
	most    float64   // at its top
	history []Point
}

// steps are how far below the top a value stands in each unit of the width.
func (c curve) steps(of func(Point) float64) (list [chartWidth]int) {
	for i := range list {
		list[i] = chartHeight
	}
	for _, p := range c.history {
		x := chartWidth - int(c.end.Sub(p.Time)/pointLength)
		if x >= 0 && x < chartWidth {
			list[x] = int(math.Round(chartHeight * (1 - min(of(p)/c.most, 1))))
		}
	}
	return list
}

// area is what lies below a value.
func (c curve) area(of func(Point) float64) string {
	var b strings.Builder
	at := chartHeight
	for x, y := range c.steps(of) {
		if y != at {
			fmt.Fprintf(&b, "H%dV%d", x, y)
			at = y
		}
	}
	if b.Len() == 0 {
		return ""
	}
	return fmt.Sprintf("M0 %d%sH%dV%d", chartHeight, b.String(), chartWidth, chartHeight)
}

// line is a value that is not drawn where it is 0.
func (c curve) line(of func(Point) float64) string {
	var b strings.Builder
	at := chartHeight
	for x, y := range c.steps(of) {
		switch {
		case y == at:
			continue
		case at == chartHeight:
			fmt.Fprintf(&b, "M%d %d", x, y)
		case y == chartHeight:
			fmt.Fprintf(&b, "H%d", x)
		default:
			fmt.Fprintf(&b, "H%dV%d", x, y)
		}
		at = y
	}
	if at != chartHeight {
		fmt.Fprintf(&b, "H%d", chartWidth)
	}
	return b.String()
}

// nice rounds up to 1, 2 or 5 times a power of ten, so that the top of a chart is
// a number to read.
func nice(v float64) float64 {
	if v <= 0 {
		return 1
	}
	power := 1.0
	for power > v {
		power /= 10
	}
	for power*10 < v {
		power *= 10
	}
	for _, m := range []float64{1, 2, 5, 10} {
		if m*power >= v {
			return m * power
		}
	}
	return 10 * power
}
