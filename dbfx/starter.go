package dbfx

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"
)

// Starter is work that belongs to the start of a database: it runs once the
// database answers, and before everything that depends on it starts. Its error
// fails the start. Put one into the graph with the value group "dbfx.starters":
//
//	fx.Provide(fx.Annotate(newStarter, fx.ResultTags(`group:"dbfx.starters"`)))
//
// Its constructor must not depend on the database; Run is given it. A graph that
// replaces *sql.DB starts no database, and so runs no Starter.
type Starter struct {
	// Database is the name given to Named, "" for the default one.
	Database string
	// Name stands in the error of the start.
	Name string
	// Run does the work. ctx ends when four fifths of the time that the start
	// has are over, so that the reason is told; START_TIMEOUT does not bound it.
	Run func(ctx context.Context, d *Database) error
}

// WithStarter adds a Starter to what Open does; its Database is not looked at.
func WithStarter(s Starter) OpenOption {
	return func(d *Database) { d.starters = append(d.starters, s) }
}

// runStarters runs them in their order, and ends with the first that fails.
func (d *Database) runStarters(ctx context.Context) error {
	if len(d.starters) == 0 {
		return nil
	}
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)*4/5)
		defer cancel()
	}
	for _, s := range d.starters {
		if err := s.run(ctx, d); err != nil {
			return fmt.Errorf("%s: %w", s.Name, err)
		}
	}
	return nil
}

// run turns a panic into an error: a panic in a hook of Fx can end the process
// without a trace (14 of 40 runs).
func (s Starter) run(ctx context.Context, d *Database) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return s.Run(ctx, d)
}
