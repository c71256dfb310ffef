package status

import (
	"fmt"
	"html/template"
	"strconv"
	"strings"
	"time"
)

// The size of a chart in its own units: CSS stretches it to the width there is.
const (
	chartWidth  = 900.0
	chartHeight = 100.0
	chartSpan   = 15 * time.Minute
)

// layer is one area of a chart. Those of one chart stand on each other.
type layer struct {
	class string
	of    func(Point) float64
}

// draw returns a chart of the last 15 minutes, with spans in which the database
// was down behind it. It is made of numbers and of names of classes, so that no
// text of a user comes into it. most is the value at its top.
func draw(now time.Time, history []Point, most float64, limit func(Point) float64, layers ...layer) template.HTML {
	var b strings.Builder
	x := func(t time.Time) float64 {
		return max(0, min(chartWidth, chartWidth*(1-now.Sub(t).Seconds()/chartSpan.Seconds())))
	}
	y := func(v float64) float64 { return chartHeight * (1 - min(v/most, 1)) }
	fmt.Fprintf(&b, `<svg class="chart" viewBox="0 0 %g %g" preserveAspectRatio="none" aria-hidden="true" focusable="false">`, chartWidth, chartHeight)
	for _, at := range []float64{0.25, 0.5, 0.75} {
		fmt.Fprintf(&b, `<line class="grid" x1="0" x2="%g" y1="%g" y2="%g"/>`, chartWidth, at*chartHeight, at*chartHeight)
	}
	for _, p := range history {
		if p.Down {
			fmt.Fprintf(&b, `<rect class="down" x="%s" y="0" width="%s" height="%g"/>`,
				number(x(p.Time)), number(chartWidth*pointLength.Seconds()/chartSpan.Seconds()+0.5), chartHeight)
		}
	}
	base := make([]float64, len(history))
	for _, l := range layers {
		b.WriteString(area(history, base, l, x, y))
	}
	if limit != nil {
		b.WriteString(limitLine(history, limit, x, y))
	}
	b.WriteString("</svg>")
	return template.HTML(b.String()) //nolint:gosec // numbers and constants alone
}

// area draws a layer in steps on top of base, and adds it to base.
func area(history []Point, base []float64, l layer, x func(time.Time) float64, y func(float64) float64) string {
	if len(history) == 0 {
		return ""
	}
	var up, down []string
	for i, p := range history {
		left, right := number(x(p.Time)), number(x(p.Time.Add(pointLength)))
		bottom := number(y(base[i]))
		base[i] += l.of(p)
		top := number(y(base[i]))
		up = append(up, left+","+top, right+","+top)
		down = append(down, left+","+bottom, right+","+bottom)
	}
	for i, j := 0, len(down)-1; i < j; i, j = i+1, j-1 {
		down[i], down[j] = down[j], down[i]
	}
	return `<polygon class="` + l.class + `" points="` + strings.Join(append(up, down...), " ") + `"/>`
}

func limitLine(history []Point, limit func(Point) float64, x func(time.Time) float64, y func(float64) float64) string {
	var line []string
	for _, p := range history {
		if v := limit(p); v > 0 {
			line = append(line, number(x(p.Time))+","+number(y(v)), number(x(p.Time.Add(pointLength)))+","+number(y(v)))
		}
	}
	if len(line) == 0 {
		return ""
	}
	return `<polyline class="limit" points="` + strings.Join(line, " ") + `"/>`
}

func number(v float64) string { return strconv.FormatFloat(v, 'f', 1, 64) }

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
