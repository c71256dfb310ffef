package sqlite

import (
	"context"
	"database/sql/driver"
	"strings"
)

// run runs a prepared statement. The driver gets a context without an end, so that
// its error says what became of the statement: see interrupter.
func (k *call) run(ctx context.Context, stmt rawStmt, args []driver.NamedValue) (result driver.Result, err error) {
	if !k.waits {
		return stmt.ExecContext(context.WithoutCancel(ctx), args)
	}
	err = k.real.patiently(ctx, func(ctx context.Context) error {
		result, err = stmt.ExecContext(ctx, args)
		return err
	})
	return result, err
}

// runEach runs the statements of a text one by one, until one fails or ctx ends;
// nil means that all have run. Each gets its arguments from the beginning of args.
func (k *call) runEach(ctx context.Context, args []driver.NamedValue) (result driver.Result, err error) {
	query, _, _ := strings.Cut(k.plan.query, "\x00") // where SQLite ends reading
	for at := firstStatement(query, 0); at < len(query); {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		end := endOfPart(query, at)
		if result, err = k.runPart(ctx, query[at:end], args); err != nil {
			return nil, err
		}
		at = firstStatement(query, end)
	}
	return result, nil
}

func (k *call) runPart(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	word, _ := wordAt(query, 0)
	if word == "PRAGMA" || word == "EXPLAIN" { // some wait for a lock in a way of their own
		defer k.real.lookAtPatience()
		if k.waits {
			return k.real.raw.ExecContext(ctx, query, args)
		}
		return k.real.raw.ExecContext(context.WithoutCancel(ctx), query, args)
	}
	raw, err := k.real.raw.PrepareContext(context.WithoutCancel(ctx), query)
	if err != nil {
		return nil, err
	}
	defer func() { _ = raw.Close() }()
	return k.run(ctx, raw.(rawStmt), args)
}

// open runs a query up to its first row. Of several statements the driver chooses
// the result; it watches ctx itself then.
func (k *call) open(ctx context.Context, args []driver.NamedValue) (raw driver.Rows, err error) {
	switch {
	case k.stmt == nil && k.waits:
		return k.real.raw.QueryContext(ctx, k.plan.query, args)
	case k.stmt == nil:
		return k.real.raw.QueryContext(context.WithoutCancel(ctx), k.plan.query, args)
	case !k.waits:
		return k.stmt.QueryContext(context.WithoutCancel(ctx), args)
	}
	err = k.real.patiently(ctx, func(ctx context.Context) error {
		raw, err = k.stmt.QueryContext(ctx, args)
		return err
	})
	return raw, err
}
