package interop

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
	"github.com/sergas/dbkit/interop/people"
)

// library is what each must do, through the pool and in a session alike.
type library struct {
	add  func(ctx context.Context, db dbfx.DBTX, p Person) error
	list func(ctx context.Context, db dbfx.DBTX) ([]Person, error)
}

func libraries(t *testing.T, app *fxtest.App) map[string]library {
	bundb := NewBun(app.DB, app.Config)
	gormdb, err := NewGorm(app.DB, app.Config)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]library{
		"sqlc": {
			add: func(ctx context.Context, db dbfx.DBTX, p Person) error {
				return people.New(db).AddPerson(ctx, people.AddPersonParams{ID: p.ID, Name: p.Name})
			},
			list: func(ctx context.Context, db dbfx.DBTX) (list []Person, err error) {
				rows, err := people.New(db).ListPeople(ctx)
				for _, row := range rows {
					list = append(list, Person{row.ID, row.Name})
				}
				return list, err
			},
		},
		"squirrel and scany": {AddBySquirrel, ListBySquirrel},
		"sqlx":               {AddBySqlx, ListBySqlx},
		"bun": {
			add: func(ctx context.Context, db dbfx.DBTX, p Person) error {
				_, err := bundb.NewInsert().Model(&p).ModelTableExpr("people").Conn(db).Exec(ctx)
				return err
			},
			list: func(ctx context.Context, db dbfx.DBTX) (list []Person, err error) {
				return list, bundb.NewSelect().Model(&list).ModelTableExpr("people AS person").Order("id").Conn(db).Scan(ctx)
			},
		},
		"bun.IDB": {
			add: func(ctx context.Context, db dbfx.DBTX, p Person) error {
				_, err := BunIn{bundb, db}.NewInsert().Model(&p).ModelTableExpr("people").Exec(ctx)
				return err
			},
			list: func(ctx context.Context, db dbfx.DBTX) (list []Person, err error) {
				return list, BunIn{bundb, db}.NewRaw("select id, name from people where id > ? order by id", 0).Scan(ctx, &list)
			},
		},
		"gorm": {
			add: func(ctx context.Context, db dbfx.DBTX, p Person) error {
				return GormIn(ctx, gormdb, db).Table("people").Create(&p).Error
			},
			list: func(ctx context.Context, db dbfx.DBTX) (list []Person, err error) {
				return list, GormIn(ctx, gormdb, db).Table("people").Order("id").Find(&list).Error
			},
		},
		"jet": {
			add: func(ctx context.Context, db dbfx.DBTX, p Person) error { return AddByJet(ctx, db, app.Config, p) },
			list: func(ctx context.Context, db dbfx.DBTX) ([]Person, error) {
				return ListByJet(ctx, db, app.Config)
			},
		},
		"ent": {
			add: func(ctx context.Context, db dbfx.DBTX, p Person) error {
				return EntIn(db, app.Config).Person.Create().SetID(p.ID).SetName(p.Name).Exec(ctx)
			},
			list: func(ctx context.Context, db dbfx.DBTX) (list []Person, err error) {
				rows, err := EntIn(db, app.Config).Person.Query().Order(entByID).All(ctx)
				for _, row := range rows {
					list = append(list, Person{row.ID, row.Name})
				}
				return list, err
			},
		},
	}
}

const ddl = "create table people (id bigint primary key, name text not null)"

// TestLibraries runs each library on the pool, in a session, in a nested one, and
// into an error.
func TestLibraries(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		app := fxtest.New(t, fxtest.Use(cfg))
		if _, err := app.DB.ExecContext(t.Context(), ddl); err != nil {
			t.Fatal(err)
		}
		for name, lib := range libraries(t, app) { // one after another: they share the table
			t.Run(name, func(t *testing.T) {
				if _, err := app.DB.ExecContext(t.Context(), "delete from people"); err != nil {
					t.Fatal(err)
				}
				lib.onPoolAndInSession(t, app)
				lib.nested(t, app)
				lib.withErrors(t, app)
			})
		}
	})
}

func (l library) names(ctx context.Context, t *testing.T, db dbfx.DBTX) (names []string) {
	t.Helper()
	list, err := l.list(ctx, db)
	if err != nil {
		t.Error(err)
	}
	for _, p := range list {
		names = append(names, p.Name)
	}
	return names
}

func (l library) onPoolAndInSession(t *testing.T, app *fxtest.App) {
	if err := l.add(t.Context(), app.DB, Person{1, "pool"}); err != nil {
		t.Fatal(err)
	}
	err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
		if err := l.add(ctx, tx, Person{2, "session"}); err != nil {
			return err
		}
		if got := l.names(ctx, t, tx); !slices.Equal(got, []string{"pool", "session"}) {
			t.Errorf("in the session: %v", got)
		}
		if got := l.names(ctx, t, app.DB); !slices.Equal(got, []string{"pool"}) {
			t.Errorf("outside of it: %v", got)
		}
		return nil
	})
	if got := l.names(t.Context(), t, app.DB); err != nil || !slices.Equal(got, []string{"pool", "session"}) {
		t.Errorf("committed: %v, %v", got, err)
	}
}

func (l library) nested(t *testing.T, app *fxtest.App) {
	undo := errors.New("undo")
	err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
		if err := l.add(ctx, tx, Person{3, "outer"}); err != nil {
			return err
		}
		err := app.Sessions.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
			if err := l.add(ctx, tx, Person{4, "inner"}); err != nil {
				t.Error(err)
			}
			return undo
		})
		if err != undo {
			t.Errorf("nested: got %v", err)
		}
		return l.add(ctx, tx, Person{5, "after"})
	})
	if got := l.names(t.Context(), t, app.DB); err != nil || !slices.Equal(got, []string{"pool", "session", "outer", "after"}) {
		t.Errorf("nested: %v, %v", got, err)
	}
}

func (l library) withErrors(t *testing.T, app *fxtest.App) {
	before := fmt.Sprint(l.names(t.Context(), t, app.DB))
	for _, swallow := range []bool{false, true} {
		err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
			if err := l.add(ctx, tx, Person{6, "lost"}); err != nil {
				return err
			}
			err := l.add(ctx, tx, Person{1, "twice"})
			if !dbfx.IsUniqueViolation(err) {
				t.Errorf("a unique violation came as %v", err)
			}
			if swallow {
				return nil
			}
			return err
		})
		if swallow && !errors.Is(err, dbfx.ErrRolledBack) || !swallow && !dbfx.IsUniqueViolation(err) {
			t.Errorf("swallowed %v: got %v", swallow, err)
		}
		if after := fmt.Sprint(l.names(t.Context(), t, app.DB)); after != before {
			t.Errorf("swallowed %v: %s became %s", swallow, before, after)
		}
	}
}

// TestBunIn_RunsDDLInTheSession: what is not a plain query goes down the same way.
func TestBunIn_RunsDDLInTheSession(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		app := fxtest.New(t, fxtest.Use(cfg))
		if _, err := app.DB.ExecContext(t.Context(), ddl); err != nil {
			t.Fatal(err)
		}
		bundb, undo := NewBun(app.DB, cfg), errors.New("undo")
		if err := AddBySquirrel(t.Context(), app.DB, Person{1, "Ada"}); err != nil {
			t.Fatal(err)
		}
		err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
			in := BunIn{bundb, tx}
			if _, err := in.NewCreateTable().Model((*Person)(nil)).ModelTableExpr("others").Exec(ctx); err != nil {
				return err
			}
			if _, err := in.NewTruncateTable().Model((*Person)(nil)).ModelTableExpr("people").Exec(ctx); err != nil {
				return err
			}
			return undo
		}, dbfx.Timeout(30*time.Second))
		if err != undo {
			t.Fatal(err)
		}
		if list, err := ListBySquirrel(t.Context(), app.DB); err != nil || len(list) != 1 {
			t.Errorf("the rolled back session has emptied the table: %v, %v", list, err)
		}
		if _, err := app.DB.ExecContext(t.Context(), "select 1 from others"); err == nil {
			t.Error("the rolled back session has left a table")
		}
	})
}

// TestEntIn_TxIsTrue rolls a client's Tx back, which in a session Run alone can do.
func TestEntIn_TxIsTrue(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		app := fxtest.New(t, fxtest.Use(cfg))
		if _, err := app.DB.ExecContext(t.Context(), ddl); err != nil {
			t.Fatal(err)
		}
		addInTx := func(ctx context.Context, db dbfx.DBTX) error {
			tx, err := EntIn(db, cfg).Tx(ctx)
			if err != nil {
				return err
			}
			if err := tx.Person.Create().SetID(1).SetName("Ada").Exec(ctx); err != nil {
				t.Error(err)
			}
			return tx.Rollback()
		}
		if err := addInTx(t.Context(), app.DB); err != nil {
			t.Error(err)
		}
		err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error { return addInTx(ctx, tx) })
		if err == nil {
			t.Error("Rollback in a session says nothing, and does nothing")
		}
		if n, err := EntIn(app.DB, cfg).Person.Query().Count(t.Context()); n != 0 || err != nil {
			t.Errorf("%d rows, %v", n, err)
		}
	})
}
