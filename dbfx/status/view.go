package status

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/sergas/dbkit/dbfx"
)

//go:embed web
var files embed.FS

// view draws the page.
type view struct{ templates *template.Template }

// sections are the parts of a database that change while one looks.
var sections = []string{"nav", "state", "tiles", "charts", "now", "names", "statements", "storage", "checks", "events"}

func newView() *view {
	t := template.New("page.html").Funcs(template.FuncMap{
		"seconds": seconds, "bytes": size, "count": count, "clock": clock, "ago": ago, "label": label, "stamp": stamp, "words": words,
		"stateClass": stateClass, "eventClass": eventClass, "charts": charts, "figure": figure, "bound": bound, "lineOf": lineOf, "functionOf": functionOf, "section": func(d Database, name string) string { return d.Name + "." + name },
	})
	return &view{template.Must(t.ParseFS(files, "web/*.html"))}
}

// page writes the whole page.
func (v *view) page(w io.Writer, title string, s Snapshot) error {
	var b bytes.Buffer // a template that fails must not leave half a page
	if err := v.templates.ExecuteTemplate(&b, "page.html", struct {
		Title string
		Snapshot
	}{title, s}); err != nil {
		return err
	}
	_, err := b.WriteTo(w)
	return err
}

// seconds shows a duration with the two or three digits that matter.
func seconds(s float64) string {
	switch {
	case s <= 0:
		return "0"
	case s < 0.001:
		return digits(s*1e6) + "\u00a0µs" // a unit stays with its number
	case s < 1:
		return digits(s*1e3) + "\u00a0ms"
	case s < 120:
		return digits(s) + "\u00a0s"
	case s < 2*3600:
		return strconv.Itoa(int(s/60)) + " min"
	case s < 48*3600:
		return fmt.Sprintf("%d h %02d min", int(s/3600), int(s/60)%60)
	}
	return strconv.Itoa(int(s/86400)) + " days"
}

// bound shows a duration that is one of a few: 25 µs, and not 25.0 µs.
func bound(s float64) string {
	number, unit, _ := strings.Cut(seconds(s), "\u00a0")
	if strings.Contains(number, ".") {
		number = strings.TrimRight(strings.TrimRight(number, "0"), ".")
	}
	return strings.TrimSuffix(number+"\u00a0"+unit, "\u00a0")
}

// lineOf and functionOf are the two parts of a session's Caller.
func lineOf(caller string) string {
	line, _, _ := strings.Cut(caller, " ")
	return line
}

// functionOf leaves out the package, which the line names well enough.
func functionOf(caller string) string {
	_, function, _ := strings.Cut(caller, " ")
	if _, name, ok := strings.Cut(function, "."); ok {
		return name
	}
	return function
}

func digits(v float64) string {
	switch {
	case v >= 100:
		return strconv.FormatFloat(math.Round(v), 'f', 0, 64)
	case v >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

// size shows bytes.
func size(n int64) string {
	const k = 1024
	switch {
	case n < k:
		return strconv.FormatInt(n, 10) + " B"
	case n < k*k:
		return digits(float64(n)/k) + " KiB"
	case n < k*k*k:
		return digits(float64(n)/k/k) + " MiB"
	}
	return digits(float64(n)/k/k/k) + " GiB"
}

// figure shows a number of a check: a version as it is, a ratio with three digits.
func figure(v float64) string {
	if v == math.Trunc(v) || math.Abs(v) >= 1000 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

// count groups the digits of a number by thin spaces.
func count(n int64) string {
	text := strconv.FormatInt(n, 10)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "\u202f" + text[i:]
	}
	return text
}

func clock(t time.Time) string { return t.Format("15:04:05") }

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func ago(t time.Time) string {
	if s := time.Since(t).Seconds(); s >= 1 {
		return seconds(s)
	}
	return "a moment"
}

// words shows the kind of an event, whose words the log joins with underscores.
func words(kind string) string { return strings.ReplaceAll(kind, "_", " ") }

// stateClass is the colour of a state.
func stateClass(s dbfx.State) string {
	switch s {
	case dbfx.StateUp:
		return "good"
	case dbfx.StateSaturated, dbfx.StateStarting, dbfx.StateStopping:
		return "warn"
	}
	return "bad"
}

func eventClass(kind string) string {
	switch dbfx.EventKind(kind) {
	case dbfx.EventDown, dbfx.EventStuck, dbfx.EventUnknownCommit, dbfx.EventNoWrites:
		return "bad"
	case dbfx.EventUp, dbfx.EventWritesAgain, dbfx.EventRelieved, dbfx.EventReplicaBack, dbfx.EventWALSmall, dbfx.EventStarted:
		return "good"
	case dbfx.EventStopping, dbfx.EventStopped:
		return "calm"
	}
	return "warn"
}

// graph is a chart with what stands around it.
type graph struct {
	Title, Now, Top, Text string
	SVG                   template.HTML
	Legend                []legend
}

type legend struct{ Class, Text string }

// charts are the three of a database.
func charts(d Database) []graph {
	now := time.Now()
	perSecond := func(n int64) float64 { return float64(n) / pointLength.Seconds() }
	var most, rate, wait float64
	for _, p := range d.History {
		most = max(most, float64(p.Running+p.Waiting), float64(p.Limit))
		rate = max(rate, perSecond(p.Committed+p.Read+p.RolledBack+p.Unknown))
		wait = max(wait, p.Wait)
	}
	topSessions, topRate, topWait := nice(most), nice(rate), nice(wait)
	limit := ""
	if d.Limit > 0 {
		limit = fmt.Sprintf(" of %d", d.Limit)
	}
	return []graph{
		{
			Title: "Sessions at a time", Now: fmt.Sprintf("%d running%s, %d waiting", d.Running, limit, d.Waiting), Top: count(int64(topSessions)),
			Text: fmt.Sprintf("Most in 15 minutes: %d running, %d waiting.", d.Recent.MostRunning, d.Recent.MostWaiting),
			SVG: draw(now, d.History, topSessions, func(p Point) float64 { return float64(p.Limit) },
				layer{"running", func(p Point) float64 { return float64(p.Running) }},
				layer{"waiting", func(p Point) float64 { return float64(p.Waiting) }}),
			Legend: []legend{{"running", "running"}, {"waiting", "waiting"}, {"limit", "limit"}, {"down", "down"}},
		},
		{
			Title: "Sessions a second", Now: digits(d.Rate) + " a second", Top: strconv.FormatFloat(topRate, 'g', -1, 64),
			Text: fmt.Sprintf("In 15 minutes: %s sessions, %s rolled back, %s unknown.", count(d.Recent.Sessions), count(d.Recent.RolledBack), count(d.Recent.Unknown)),
			SVG: draw(now, d.History, topRate, nil,
				layer{"read", func(p Point) float64 { return perSecond(p.Read) }},
				layer{"committed", func(p Point) float64 { return perSecond(p.Committed) }},
				layer{"rolledback", func(p Point) float64 { return perSecond(p.RolledBack) }},
				layer{"unknown", func(p Point) float64 { return perSecond(p.Unknown) }}),
			Legend: []legend{{"read", "read"}, {"committed", "committed"}, {"rolledback", "rolled back"}, {"unknown", "unknown"}},
		},
		{
			Title: "Longest wait", Now: "at most " + bound(d.Recent.LongestWait), Top: bound(topWait),
			Text:   fmt.Sprintf("Timeouts in 15 minutes: %s.", count(d.Recent.Timeouts)),
			SVG:    draw(now, d.History, topWait, nil, layer{"waiting", func(p Point) float64 { return p.Wait }}),
			Legend: []legend{{"waiting", "longest wait"}},
		},
	}
}
