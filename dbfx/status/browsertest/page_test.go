package browsertest

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/sergas/dbkit/fxtest"
)

// figure is a number that moves under load: the sessions "place order".
const figure = `[...document.querySelectorAll('[id="default.names"] tr')].find(r => r.textContent.includes("place order"))?.querySelector('td[data-label="Count"]').textContent`

// ticks remembers what the page showed at each event of its stream, and when that was
// drawn, in seconds of the day.
const ticks = `window.second = clock => clock.split(":").reduce((sum, n) => sum * 60 + +n, 0);
window.ticks = []; new MutationObserver(() => ticks.push([second(document.getElementById("clock").textContent), ` + figure + `])).observe(document.getElementById("clock"), { childList: true, characterData: true, subtree: true })`

// moves fails the test unless a session is on the page with the first event of the
// stream that was drawn after its end.
func (s *service) moves(t *testing.T, b *browser) {
	t.Helper()
	eval[any](t, b, ticks+`; null`)
	for range 3 {
		before := eval[string](t, b, `String(`+figure+`)`)
		if err := s.placeOrder(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		drawn := `ticks.find(([at]) => { const after = (at - second("` + time.Now().Format(time.TimeOnly) + `") + 86400) % 86400; return after > 0 && after < 43200; })`
		b.until(t, drawn+` !== undefined`)
		if now := eval[string](t, b, `String(`+drawn+`[1])`); now == before {
			t.Errorf("an event that was drawn after a session's end has %s, as before it", now)
		}
	}
}

func TestPage_MovesUnderLoadAndKeepsToItself(t *testing.T) {
	s := serve(t, fxtest.SQLite(t))
	b := open(t)
	b.look(t, 1440, 900, "light")
	b.load(t, s.url)
	b.until(t, `document.getElementById("live").textContent === "live"`)
	s.moves(t, b)
	s.load(t)
	if dir := os.Getenv("DBFX_SCREENSHOTS"); dir != "" {
		s.past(t) // for the pictures alone
	}
	s.hold(t, 4)
	b.until(t, `[...document.querySelectorAll('[id="default.now"] tr.holder')].some(r => r.textContent.includes("recount stock"))`)
	b.until(t, `[...document.querySelectorAll('[id="default.now"] tr.waits')].some(r => r.textContent.includes("recount stock"))`)
	b.screenshot(t, "light.png", true)
	b.screenshot(t, "light-top.png", false)
	b.look(t, 1440, 900, "dark")
	b.screenshot(t, "dark.png", true)
	b.screenshot(t, "dark-top.png", false)
	b.look(t, 390, 1800, "light")
	b.screenshot(t, "narrow.png", true)
	b.screenshot(t, "narrow-top.png", false)
	b.look(t, 390, 844, "dark")
	b.screenshot(t, "narrow-dark.png", true)
	b.silent(t, s.url)
}

func TestPage_ShowsOneStreamAndNoneWhilePaused(t *testing.T) {
	s := serve(t, fxtest.SQLite(t))
	b := open(t)
	b.load(t, s.url)
	b.until(t, `document.getElementById("live").textContent === "live"`)
	b.do(t, chromedp.Click(chromedp.ID("pause")))
	b.until(t, `document.getElementById("live").textContent === "paused"`)
	clock := eval[string](t, b, `document.getElementById("clock").textContent`)
	s.load(t)
	b.do(t, chromedp.Click(chromedp.ID("pause")))
	b.until(t, `document.getElementById("live").textContent === "live"`)
	b.until(t, `document.getElementById("clock").textContent !== `+strconv.Quote(clock))
	streams := b.asked("?events")
	if streams != 2 {
		t.Errorf("%d streams were opened, want one before the pause and one after it", streams)
	}
}

// contrast returns every text whose contrast is below WCAG's AA.
const contrast = `(() => {
	const parse = c => { const m = c.match(/[\d.]+/g).map(Number); return [m[0], m[1], m[2], m[3] === undefined ? 1 : m[3]]; };
	const lum = c => { const f = c.slice(0, 3).map(v => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }); return 0.2126 * f[0] + 0.7152 * f[1] + 0.0722 * f[2]; };
	const back = e => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c[3] === 1) return c; } return [255, 255, 255, 1]; };
	const bad = [];
	const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	let seen = 0;
	while (walk.nextNode()) {
		const e = walk.currentNode.parentElement, style = getComputedStyle(e);
		if (!walk.currentNode.textContent.trim() || e.closest("noscript, script, style") || !e.getClientRects().length) continue;
		seen++;
		const a = lum(parse(style.color)), b = lum(back(e)), ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
		const px = parseFloat(style.fontSize), large = px >= 24 || px >= 18.66 && parseInt(style.fontWeight) >= 700;
		if (ratio < (large ? 3 : 4.5)) bad.push(ratio.toFixed(2) + " " + e.className + " " + walk.currentNode.textContent.trim().slice(0, 40));
	}
	return seen < 20 ? ["only " + seen + " texts were seen"] : bad;
})()`

// nameless returns every control and region without an accessible name, every
// table without headers, every id that is not unique.
const nameless = `(() => {
	const bad = [];
	const name = e => (e.getAttribute("aria-label") || (e.getAttribute("aria-labelledby") || "").split(/\s+/).map(id => document.getElementById(id)?.textContent || "").join(" ") || e.textContent).trim();
	for (const e of document.querySelectorAll("a, button, summary, [role=region], nav, section, article, [tabindex]")) if (!name(e)) bad.push("no name: " + e.outerHTML.slice(0, 80));
	for (const e of document.querySelectorAll("nav, section, article, [role=region]")) if (!e.getAttribute("aria-label") && !e.getAttribute("aria-labelledby")) bad.push("no label: " + e.outerHTML.slice(0, 80));
	for (const e of document.querySelectorAll("table")) if (!e.querySelector("thead th[scope=col]") || [...e.querySelectorAll("tbody tr")].some(r => !r.querySelector("th[scope=row]"))) bad.push("no headers: " + e.outerHTML.slice(0, 80));
	for (const e of document.querySelectorAll("svg")) if (e.getAttribute("aria-hidden") !== "true" && !name(e)) bad.push("svg without a text");
	for (const e of document.querySelectorAll("figure")) if (!e.querySelector(".hidden")?.textContent.trim()) bad.push("a chart without its words");
	const ids = [...document.querySelectorAll("[id]")].map(e => e.id);
	for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) bad.push("twice: " + id);
	for (const e of document.querySelectorAll("[aria-labelledby]")) for (const id of e.getAttribute("aria-labelledby").split(" ")) if (!document.getElementById(id)) bad.push("labelled by nothing: " + id);
	const levels = [...document.querySelectorAll("h1, h2, h3, h4")].map(e => +e.tagName[1]);
	levels.forEach((l, i) => { if (i && l > levels[i - 1] + 1) bad.push("a heading is left out before level " + l); });
	if (document.documentElement.lang !== "en" || !document.title || document.querySelectorAll("main, h1").length !== 2) bad.push("language, title, main or h1");
	return bad;
})()`

func TestPage_IsAccessible(t *testing.T) {
	s := serve(t, fxtest.SQLite(t))
	b := open(t)
	b.load(t, s.url)
	s.load(t)
	s.hold(t, 2)
	b.until(t, `document.querySelector('[id="default.now"] tr.holder') !== null && `+figure+` !== undefined`)
	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int64{1440, 390} {
			b.look(t, width, 900, scheme)
			for _, check := range []string{contrast, nameless} {
				for _, fault := range eval[[]string](t, b, check) {
					t.Errorf("%s, %d px: %s", scheme, width, fault)
				}
			}
			if wide := eval[int](t, b, `document.documentElement.scrollWidth`); wide > int(width) {
				t.Errorf("at %d px the page is %d px wide", width, wide)
			}
			small := eval[[]string](t, b, `[...document.querySelectorAll("button, summary")].filter(e => e.getBoundingClientRect().height < 24).map(e => e.outerHTML)`)
			for _, target := range small {
				t.Error("a target below 24 px:", target)
			}
		}
	}
}

func TestPage_KeyboardGoesInTheOrderOfReading(t *testing.T) {
	s := serve(t, fxtest.SQLite(t))
	b := open(t)
	b.look(t, 1440, 900, "light")
	b.load(t, s.url)
	b.until(t, `document.getElementById("live").textContent === "live"`)
	var order []string
	for range 8 {
		b.do(t, chromedp.KeyEvent(kb.Tab))
		order = append(order, eval[string](t, b, `(e => e.id || e.getAttribute("aria-labelledby") || e.getAttribute("href") || e.tagName)(document.activeElement)`))
		if !eval[bool](t, b, `parseFloat(getComputedStyle(document.activeElement).outlineWidth) >= 2`) {
			t.Errorf("the focus on %s cannot be seen", order[len(order)-1])
		}
	}
	want := []string{"#main", "pause", "#default", "#reports", "default.now.title", "default.statements.title", "default.names.title", "default.events.title"}
	if !slices.Equal(order, want) {
		t.Errorf("got %q\nwant %q", order, want)
	}
	// The focus stays where it is while the page refreshes itself.
	clock := eval[string](t, b, `document.getElementById("clock").textContent`)
	b.until(t, `document.getElementById("clock").textContent !== `+strconv.Quote(clock))
	if got := eval[string](t, b, `document.activeElement.getAttribute("aria-labelledby")`); got != "default.events.title" {
		t.Errorf("a refresh moved the focus to %q", got)
	}
}

func TestPage_WorksWithoutJavaScript(t *testing.T) {
	s := serve(t, fxtest.SQLite(t))
	b := open(t)
	s.load(t)
	call(t, b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	b.load(t, s.url)
	b.when(t, "the page loads itself again", func() bool {
		return strings.Contains(ask(t, b, chromedp.OuterHTML(chromedp.CSS("html"))), "place order")
	})
	if b.asked("?events") != 0 {
		t.Error("a stream was opened without JavaScript")
	}
}
