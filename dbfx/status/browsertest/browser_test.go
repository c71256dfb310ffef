package browsertest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// patience bounds a test in the browser; a loaded machine is slow.
const patience = 3 * time.Minute

// browser is a tab, and what it has said and asked for.
type browser struct {
	ctx context.Context

	mu       sync.Mutex
	console  []string
	requests []string
}

// open starts a browser that ends with the test. It fails the test where there is
// none: a test that is skipped looks green.
func open(t *testing.T) *browser {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
			if _, err := os.Stat(filepath.Join(dir, name)); err == nil && path == "" {
				path = filepath.Join(dir, name)
			}
		}
	}
	if path == "" {
		t.Fatal("no browser: install chromium")
	}
	b := &browser{}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox,
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.Flag("hide-scrollbars", true), chromedp.WSURLReadTimeout(patience))
	allocator, end := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(end)
	tab, closeTab := chromedp.NewContext(allocator, chromedp.WithListener(b.hear))
	t.Cleanup(closeTab)
	var cancel context.CancelFunc
	b.ctx, cancel = context.WithTimeout(tab, patience)
	t.Cleanup(cancel)
	b.do(t)
	call(t, b, network.Enable, network.EnableParams{})
	call(t, b, log.Enable, cdp.Empty{})
	call(t, b, runtime.Enable, cdp.Empty{})
	return b
}

func (b *browser) hear(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventConsoleAPICalled:
		b.console = append(b.console, fmt.Sprint(e.Type))
	case *runtime.EventExceptionThrown:
		b.console = append(b.console, e.ExceptionDetails.Text)
	case *log.EventEntryAdded:
		b.console = append(b.console, e.Entry.Text)
	case *network.EventRequestWillBeSent:
		b.requests = append(b.requests, e.Request.URL)
	}
}

// silent fails the test if the console has said something, or a request has left
// for elsewhere.
func (b *browser) silent(t *testing.T, origin string) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, line := range b.console {
		t.Error("the console says:", line)
	}
	if len(b.requests) == 0 {
		t.Error("no request was seen")
	}
	for _, url := range b.requests {
		if !strings.HasPrefix(url, origin) {
			t.Error("a request left for", url)
		}
	}
}

// asked counts the requests for a URL that ends so.
func (b *browser) asked(suffix string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for _, url := range b.requests {
		if strings.HasSuffix(url, suffix) {
			n++
		}
	}
	return n
}

func (b *browser) do(t *testing.T, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(b.ctx, steps...); err != nil {
		t.Fatal(err)
	}
}

// call sends a command of the protocol.
func call[P, R any](t *testing.T, b *browser, command cdp.Command[P, R], params P) {
	t.Helper()
	if _, err := chromedp.Call(b.ctx, command, params); err != nil {
		t.Fatal(err)
	}
}

// ask returns what an action gives.
func ask[T any](t *testing.T, b *browser, action chromedp.Action[T]) T {
	t.Helper()
	value, err := chromedp.Run(b.ctx, action)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// eval returns what an expression gives.
func eval[T any](t *testing.T, b *browser, expression string) T {
	t.Helper()
	return ask(t, b, chromedp.Evaluate[T](expression))
}

// open loads the page.
func (b *browser) load(t *testing.T, url string) {
	t.Helper()
	b.do(t, chromedp.Navigate(url), chromedp.WaitReady(chromedp.ID("main")))
}

// until waits until an expression is true.
func (b *browser) until(t *testing.T, expression string) {
	t.Helper()
	b.when(t, expression, func() bool { return eval[bool](t, b, expression) })
}

// when waits until a condition holds.
func (b *browser) when(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for !condition() {
		select {
		case <-b.ctx.Done():
			t.Fatal("it did not happen in time: ", what)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// look sets the size and the scheme of colours.
func (b *browser) look(t *testing.T, width, height int64, scheme string) {
	t.Helper()
	call(t, b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
		Width: width, Height: height, DeviceScaleFactor: 1, Mobile: width < 600,
	})
	call(t, b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	})
}

// screenshot writes the page, or what is seen of it at once, if DBFX_SCREENSHOTS
// names a directory.
func (b *browser) screenshot(t *testing.T, name string, whole bool) {
	t.Helper()
	dir := os.Getenv("DBFX_SCREENSHOTS")
	if dir == "" {
		return
	}
	action := chromedp.CaptureScreenshot()
	if whole {
		action = chromedp.FullScreenshot(100)
	}
	if err := os.WriteFile(filepath.Join(dir, name), ask(t, b, action), 0o644); err != nil {
		t.Fatal(err)
	}
}
