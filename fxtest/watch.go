package fxtest

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/fx"
	"go.uber.org/fx/fxevent"

	"github.com/sergas/dbkit/dbfx"
)

// watch sees what an application does: Fx's events, the statements, and who
// takes connections. It prints what went wrong when the test fails.
type watch struct {
	tb testing.TB

	mu        sync.Mutex
	holds     map[string]*holds // by the database's name
	named     []string
	trouble   []string
	recorders []*Recorder
	hook      string             // the stop hook that runs
	giveUp    context.CancelFunc // ends that hook, which waits for a leaked connection
	leaked    bool
}

func newWatch(tb testing.TB) *watch {
	w := &watch{tb: tb}
	tb.Cleanup(w.report) // registered first, and so run last
	return w
}

// option plugs the watch into the graph. A benchmark's connections are left as
// they are.
func (w *watch) option() fx.Option {
	opts := []fx.Option{fx.Provide(fx.Annotate(func() dbfx.Observer { return w }, fx.ResultTags(`group:"dbfx.observers"`)))}
	if _, bench := w.tb.(*testing.B); bench {
		return fx.Options()
	}
	return fx.Options(append(opts,
		fx.Decorate(fx.Annotate(w.opener, fx.ParamTags(`optional:"true"`))),
		fx.Decorate(func(lc fx.Lifecycle) fx.Lifecycle { return hooks{lc, w} }),
	)...)
}

// opener puts the watch between the application's Opener and the connections.
func (w *watch) opener(own dbfx.Opener) dbfx.Opener {
	return func(h dbfx.HandleInfo, c driver.Connector) *sql.DB {
		holds := w.holdsOf(h.Database)
		if own == nil {
			own = func(_ dbfx.HandleInfo, c driver.Connector) *sql.DB { return sql.OpenDB(c) }
		}
		db := own(h, &heldConnector{Connector: c, holds: holds})
		if db != nil { // an Opener may fail so
			holds.add(db)
		}
		return db
	}
}

// holdsOf returns the holds of a database.
func (w *watch) holdsOf(database string) *holds {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.holds == nil {
		w.holds = map[string]*holds{}
	}
	if w.holds[database] == nil {
		w.holds[database] = &holds{}
	}
	return w.holds[database]
}

// hooks gives each stop hook a context of its own, which a leaked connection ends:
// Fx runs no further hook once its own context has ended.
type hooks struct {
	fx.Lifecycle
	watch *watch
}

// Append implements fx.Lifecycle.
func (h hooks) Append(hook fx.Hook) {
	if stop := hook.OnStop; stop != nil {
		hook.OnStop = func(ctx context.Context) error { return h.watch.stopHook(ctx, stop) }
	}
	h.Lifecycle.Append(hook)
}

func (w *watch) stopHook(ctx context.Context, stop func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w.mu.Lock()
	w.hook, w.giveUp = runtime.FuncForPC(reflect.ValueOf(stop).Pointer()).Name(), cancel
	w.mu.Unlock()
	return stop(ctx)
}

// start starts the application. What has started of one that fails is stopped.
func (w *watch) start(app *fx.App) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return app.Start(ctx)
}

// stop stops the application. After a leak, which is told already, the errors of
// the hooks stand among what went wrong.
func (w *watch) stop(app *fx.App) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := app.Stop(ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.leaked {
		return nil
	}
	return err
}

// ownHooks begins the name that Fx finds for what Append has put around a hook.
const ownHooks = "github.com/sergas/dbkit/fxtest.hooks."

var namedConfig = regexp.MustCompile(`^dbfx\.Config\[name\s*=\s*"([^"]+)"\]$`)

// LogEvent implements fxevent.Logger.
func (w *watch) LogEvent(event fxevent.Event) {
	switch e := event.(type) {
	case *fxevent.Provided:
		for _, output := range e.OutputTypeNames {
			if match := namedConfig.FindStringSubmatch(output); match != nil {
				w.mu.Lock()
				w.named = append(w.named, match[1])
				w.mu.Unlock()
			}
		}
	case *fxevent.OnStartExecuted:
		w.failed("start hook "+e.FunctionName, e.Err)
	case *fxevent.OnStopExecuted:
		name := e.FunctionName
		if strings.HasPrefix(name, ownHooks) { // a hook that had no name of its own
			w.mu.Lock()
			name = w.hook
			w.mu.Unlock()
		}
		w.failed("stop hook "+name, e.Err)
	}
}

// unnamed returns a database from Named whose Config was not given.
func (w *watch) unnamed(used map[string]bool) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := slices.IndexFunc(w.named, func(name string) bool { return !used[name] })
	if i < 0 {
		return ""
	}
	return w.named[i]
}

// unknown returns a name that was given to UseNamed and that no database has.
func (w *watch) unknown(used map[string]bool) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	for name := range used {
		if name != "" && !slices.Contains(w.named, name) {
			return name
		}
	}
	return ""
}

// ObserveStatement implements dbfx.Observer.
func (w *watch) ObserveStatement(_ context.Context, e dbfx.StatementEvent) {
	w.mu.Lock()
	recorders := w.recorders
	w.mu.Unlock()
	for _, r := range recorders {
		r.add(e)
	}
	w.failed("statement "+e.SQL, e.Err)
}

// ObserveSession implements dbfx.Observer.
func (w *watch) ObserveSession(_ context.Context, e dbfx.SessionEvent) {
	w.failed(fmt.Sprintf("session %q, %s after %d attempts", e.Name, e.Outcome, e.Attempts), e.Err)
}

// ObserveEvent implements dbfx.EventObserver. All that uses a database has stopped
// when the database does.
func (w *watch) ObserveEvent(_ context.Context, e dbfx.Event) {
	if e.Kind == dbfx.EventStopping {
		w.checkLeaks(e.Database)
	}
}

// troubles are how many lines a failed test prints.
const troubles = 50

func (w *watch) failed(what string, err error) {
	if err == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.trouble) <= troubles {
		w.trouble = append(w.trouble, time.Now().Format("15:04:05.000 ")+what+": "+err.Error())
	}
}

// report prints what went wrong, if the test failed.
func (w *watch) report() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.tb.Failed() {
		return
	}
	for i, line := range w.trouble {
		if i == troubles {
			line = "and more"
		}
		w.tb.Log("fxtest: " + line)
	}
}

// checkLeaks gives the connections of a database that are used outside of sessions
// a second to come back. Sessions are the application's to drain.
func (w *watch) checkLeaks(database string) {
	holds := w.holdsOf(database)
	for g := newGrace(time.Now(), 100); ; time.Sleep(5 * time.Millisecond) {
		left := holds.bare()
		if len(left) == 0 {
			return
		}
		if !g.over(time.Now()) {
			continue
		}
		for _, place := range left {
			w.tb.Errorf("fxtest: a connection is still in use (rows, a Conn or a Tx that nobody closed), taken at\n%s", place)
		}
		w.mu.Lock()
		w.leaked = true
		if w.giveUp != nil {
			w.giveUp()
		}
		w.mu.Unlock()
		return
	}
}
