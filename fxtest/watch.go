package fxtest

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"regexp"
	"slices"
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
	startErr  error              // of the hook that failed
	giveUp    context.CancelFunc // ends a stop that waits for a leaked connection
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
	return fx.Options(append(opts, fx.Decorate(fx.Annotate(w.opener, fx.ParamTags(`optional:"true"`))))...)
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

// bounded calls one of Fx's Start and Stop, which a leaked connection ends.
func (w *watch) bounded(call func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	w.mu.Lock()
	w.giveUp = cancel
	w.mu.Unlock()
	return call(ctx)
}

// start starts the application. What has started of one that fails is stopped.
func (w *watch) start(app *fx.App) error {
	err := w.bounded(app.Start)
	w.mu.Lock()
	defer w.mu.Unlock()
	if errors.Is(err, context.Canceled) && w.startErr != nil {
		return w.startErr
	}
	return err
}

// stop stops the application.
func (w *watch) stop(app *fx.App) error {
	err := w.bounded(app.Stop)
	if errors.Is(err, context.Canceled) {
		return nil // the leak is reported already
	}
	return err
}

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
		if e.Err != nil {
			w.mu.Lock()
			w.startErr = e.Err
			w.mu.Unlock()
		}
	case *fxevent.OnStopExecuted:
		w.failed("stop hook "+e.FunctionName, e.Err)
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
	w.mu.Lock()
	giveUp := w.giveUp
	w.mu.Unlock()
	for deadline := time.Now().Add(time.Second); ; time.Sleep(5 * time.Millisecond) {
		left := holds.bare()
		if len(left) == 0 {
			return
		}
		if time.Now().Before(deadline) {
			continue
		}
		for _, place := range left {
			w.tb.Errorf("fxtest: a connection is still in use (rows, a Conn or a Tx that nobody closed), taken at\n%s", place)
		}
		if giveUp != nil {
			giveUp()
		}
		return
	}
}
