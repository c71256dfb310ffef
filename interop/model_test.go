package interop

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"testing"

	"pgregory.net/rapid"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

// program is what a session does, drawn at random.
type program struct {
	steps []step
	end   string // "ok", "error", "panic", "cancel"
	join  bool
}

// step is a write, or a nested program.
type step struct {
	key    string
	value  int // below 0 breaks the CHECK, and so fails
	nested *program
}

func drawProgram(t *rapid.T, depth int) *program {
	p := &program{
		end:  rapid.SampledFrom([]string{"ok", "ok", "ok", "error", "panic", "cancel"}).Draw(t, "end"),
		join: depth > 0 && rapid.IntRange(0, 3).Draw(t, "join") == 0,
	}
	for range rapid.IntRange(0, 4).Draw(t, "steps") {
		if depth < 3 && rapid.IntRange(0, 2).Draw(t, "nest") == 0 {
			p.steps = append(p.steps, step{nested: drawProgram(t, depth+1)})
			continue
		}
		p.steps = append(p.steps, step{
			key:   rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "key"),
			value: rapid.IntRange(-1, 9).Draw(t, "value"),
		})
	}
	return p
}

var errProgram = errors.New("the program fails")

// model is the table as it should be, and whether the scope is doomed.
type model struct {
	rows   map[string]int
	doomed bool
}

// predict says what becomes of the rows, and whether the scope succeeds. A
// program goes on after a nested failure, and after a failed write.
func (p *program) predict(outer *model) bool {
	m := &model{rows: maps.Clone(outer.rows)}
	for _, s := range p.steps {
		switch {
		case m.doomed:
			// nothing runs any more
		case s.nested != nil:
			if !s.nested.predict(m) && s.nested.join {
				m.doomed = true
			}
		case s.value < 0:
			m.doomed = true
		default:
			m.rows[s.key] = s.value
		}
	}
	if p.end != "ok" || m.doomed {
		if p.join && m.doomed {
			outer.doomed = true
		}
		return false
	}
	outer.rows = m.rows
	return true
}

// run does the program in a session.
func (p *program) run(ctx context.Context, s *dbfx.Sessions) (err error) {
	defer func() {
		if value := recover(); value != nil {
			if value != any(errProgram) {
				panic(value)
			}
			err = errProgram
		}
	}()
	var opts []dbfx.SessionOption
	if p.join {
		opts = append(opts, dbfx.Join())
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	return s.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
		for _, step := range p.steps {
			if step.nested != nil {
				_ = step.nested.run(ctx, s)
				continue
			}
			_, _ = tx.ExecContext(ctx, "insert into kv values ($1, $2) on conflict (k) do update set v = excluded.v", step.key, step.value)
		}
		switch p.end {
		case "error":
			return errProgram
		case "panic":
			panic(errProgram)
		case "cancel":
			cancel()
		}
		return nil
	}, opts...)
}

func TestRun_ModelHoldsForRandomPrograms(t *testing.T) {
	eachApp(t, func(t *testing.T, app *fxtest.App) {
		m := &model{rows: map[string]int{}}
		rapid.Check(t, func(rt *rapid.T) {
			p := drawProgram(rt, 0)
			m.doomed = false
			want := p.predict(m)
			err := p.run(context.Background(), app.Sessions)
			if (err == nil) != want {
				rt.Errorf("Run returned %v, the model says %t", err, want)
			}
			rows, err := table(app)
			if err != nil {
				rt.Fatal(err)
			}
			if !maps.Equal(rows, m.rows) {
				rt.Errorf("the table is %v, the model %v", rows, m.rows)
				m.rows = rows // shrinking goes on from what is there
			}
		})
	})
}

func table(app *fxtest.App) (map[string]int, error) {
	return dbfx.ViewValue(context.Background(), app.Sessions, func(ctx context.Context, tx *dbfx.Session) (map[string]int, error) {
		rows, err := tx.QueryContext(ctx, "select k, v from kv")
		if err != nil {
			return nil, err
		}
		defer func() { _ = rows.Close() }()
		got := map[string]int{}
		for rows.Next() {
			var k string
			var v int
			if err := rows.Scan(&k, &v); err != nil {
				return nil, fmt.Errorf("scan: %w", err)
			}
			got[k] = v
		}
		return got, rows.Err()
	})
}

func eachApp(t *testing.T, fn func(t *testing.T, app *fxtest.App)) {
	t.Helper()
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		app := fxtest.New(t, fxtest.Use(cfg))
		if _, err := app.DB.ExecContext(t.Context(), "create table kv (k text primary key, v integer not null check (v >= 0))"); err != nil {
			t.Fatal(err)
		}
		fn(t, app)
	})
}
