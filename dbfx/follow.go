package dbfx

import (
	"context"
	"path/filepath"
	"time"

	"github.com/sergas/dbkit/dbfx/internal/dburl"
)

// SessionTracer is an Observer that follows a session from its start to its end,
// as traces do.
type SessionTracer interface {
	Observer
	// StartSession is called before the session waits for a connection. Its fn, its
	// statements and its hooks run under the context that it returns, which must
	// come from ctx; so do the calls below. e has what is known at the start.
	StartSession(ctx context.Context, e SessionEvent) context.Context
	// ObserveStep is called for each retry and each AfterCommit hook.
	ObserveStep(ctx context.Context, s SessionStep)
	// EndSession is called when Run or View returns: after ObserveSession, and after
	// the hooks, also when one panics.
	EndSession(ctx context.Context)
}

// SessionStep is something on the way of a session.
type SessionStep struct {
	Kind     StepKind
	Time     time.Time // when it began
	Duration time.Duration
	Attempt  int
	Class    string // of the error that made a retry
}

// StepKind says what a SessionStep is.
type StepKind string

// The kinds of steps.
const (
	StepRetry StepKind = "retry" // the attempt failed, and another follows after Duration
	StepHook  StepKind = "hook"  // an AfterCommit hook ran for Duration
)

// DatabaseObserver is an Observer that is told each database that it observes,
// before any of its events.
type DatabaseObserver interface {
	Observer
	ObserveDatabase(d DatabaseInfo)
}

// DatabaseInfo says which database it is, without a secret.
type DatabaseInfo struct {
	Name      string // the name given to Named, "" for the default
	Dialect   Dialect
	Namespace string // the database's own name; the file's for SQLite
	Host      string // "" for SQLite, and where there are several
	Port      int    // 0 where it is not known
}

// infoOf describes the database that cfg names.
func infoOf(name string, cfg Config) DatabaseInfo {
	info := DatabaseInfo{Name: name, Dialect: cfg.Dialect()}
	loc, err := cfg.location()
	if err != nil {
		return info
	}
	if loc.Dialect == dburl.SQLite {
		info.Namespace = filepath.Base(loc.Path)
		return info
	}
	info.Namespace = loc.Database
	if len(loc.Hosts) == 1 {
		info.Host, info.Port = loc.Hosts[0].Name, loc.Hosts[0].Port
		if info.Port == 0 {
			info.Port = 5432
		}
	}
	return info
}

// StatementChooser is an Observer that can do without the statements, which saves
// their cost.
type StatementChooser interface {
	Observer
	WantStatements() bool
}

// BracketChooser is an Observer that can do without BEGIN, and without the ROLLBACK
// that ends a View. No one waits for them: BEGIN rides with a statement, or is a part
// of the session's wait. Their events cost as much as those of other statements.
type BracketChooser interface {
	Observer
	WantBrackets() bool
}
