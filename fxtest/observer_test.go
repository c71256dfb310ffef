package fxtest_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"slices"
	"sync"
	"testing"

	"go.uber.org/fx"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

func TestStatementEvent_KnowsItsSession(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		r := &recorder{}
		app := fxtest.New(t, fxtest.Use(cfg), observe(r))
		if _, err := app.DB.ExecContext(t.Context(), "create table kv (k text primary key, v integer)"); err != nil {
			t.Fatal(err)
		}
		r.statements = nil
		err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
			if tx.Name() != "outer" {
				t.Errorf("got the name %q", tx.Name())
			}
			if err := put(t.Context(), tx, "foreign context", 1); err != nil {
				return err
			}
			stmt, err := tx.PrepareContext(ctx, "insert into kv values ($1, 2)")
			if err != nil {
				return err
			}
			if _, err := stmt.ExecContext(ctx, "prepared"); err != nil {
				return err
			}
			// The pool's own handle, with the context of the session: not its statement.
			_, err = app.DB.ExecContext(ctx, "select 1")
			return err
		}, dbfx.Name("outer"))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range r.statements {
			got = append(got, e.Session)
		}
		if want := []string{"outer", "outer", "outer", "", "outer"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

func TestSessionEvent_CountsEachStatementOnce(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		r := &recorder{}
		app := fxtest.New(t, fxtest.Use(cfg), observe(r))
		if _, err := app.DB.ExecContext(t.Context(), "create table kv (k text primary key, v integer)"); err != nil {
			t.Fatal(err)
		}
		err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
			if err := put(ctx, tx, "one", 1); err != nil {
				return err
			}
			var n int
			if err := tx.QueryRowContext(ctx, "select count(*) from kv").Scan(&n); err != nil {
				return err
			}
			if got := app.Sessions.Running()[0].Statements; got != 3 { // BEGIN is the first
				t.Errorf("it runs with %d statements, want 3", got)
			}
			return nil
		}, dbfx.Name("counted"))
		if err != nil {
			t.Fatal(err)
		}
		if e := r.sessions[len(r.sessions)-1]; e.Name != "counted" || e.Statements != 4 {
			t.Errorf("got %d statements of %q, want BEGIN, two and COMMIT", e.Statements, e.Name)
		}
	})
}

func TestOpener_IsToldTheDatabaseAndTheRole(t *testing.T) {
	t.Parallel()
	cfg := fxtest.Postgres(t)
	cfg.DatabaseReplicaURL = dbfx.NewSecret(cfg.URL())
	var mu sync.Mutex
	var got []dbfx.HandleInfo
	open := dbfx.Opener(func(h dbfx.HandleInfo, c driver.Connector) *sql.DB {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, h)
		return sql.OpenDB(c)
	})
	fxtest.New(t, fxtest.Use(cfg), fx.Supply(open))
	want := []dbfx.HandleInfo{{Dialect: dbfx.Postgres, Role: dbfx.RoleMain}, {Dialect: dbfx.Postgres, Role: dbfx.RoleReplica}}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// observe puts an observer into the graph.
func observe(o dbfx.Observer) fx.Option {
	return fx.Provide(fx.Annotate(func() dbfx.Observer { return o }, fx.ResultTags(`group:"dbfx.observers"`)))
}
