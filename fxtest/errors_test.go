package fxtest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

func TestErrors_AnswerTheSameQuestionsOnBothEngines(t *testing.T) {
	eachApp(t, func(t *testing.T, app *fxtest.App) {
		ctx := t.Context()
		if _, err := app.DB.ExecContext(ctx, `create table pet (
			id integer primary key, owner text not null references kv (k), tag text unique,
			age integer constraint age_is_sane check (age < 100))`); err != nil {
			t.Fatal(err)
		}
		if err := put(ctx, app.DB, "ada", 1); err != nil {
			t.Fatal(err)
		}
		insert := func(values string) error {
			_, err := app.DB.ExecContext(ctx, "insert into pet (id, owner, tag, age) values "+values)
			return err
		}
		if err := insert("(1, 'ada', 'x', 1)"); err != nil {
			t.Fatal(err)
		}
		postgres := app.Config.Dialect() == dbfx.Postgres
		pick := func(pg, lite string) string {
			if postgres {
				return pg
			}
			return lite
		}
		tests := map[string]struct {
			values     string
			want       func(error) bool
			constraint string
		}{
			"Unique":     {"(2, 'ada', 'x', 1)", dbfx.IsUniqueViolation, pick("pet_tag_key", "pet.tag")},
			"PrimaryKey": {"(1, 'ada', 'y', 1)", dbfx.IsUniqueViolation, pick("pet_pkey", "pet.id")},
			"ForeignKey": {"(2, 'bob', 'y', 1)", dbfx.IsForeignKeyViolation, pick("pet_owner_fkey", "")},
			"NotNull":    {"(2, null, 'y', 1)", dbfx.IsNotNullViolation, "pet.owner"},
			"Check":      {"(2, 'ada', 'y', 100)", dbfx.IsCheckViolation, "age_is_sane"},
		}
		questions := []func(error) bool{dbfx.IsUniqueViolation, dbfx.IsForeignKeyViolation, dbfx.IsNotNullViolation, dbfx.IsCheckViolation, dbfx.IsRetryable}
		for name, tt := range tests {
			err := insert(tt.values)
			wrapped := errors.Join(errBoom, fmt.Errorf("store: %w", err))
			yes := 0
			for _, ask := range questions {
				if ask(wrapped) {
					yes++
				}
			}
			if !tt.want(err) || !tt.want(wrapped) || yes != 1 {
				t.Errorf("%s: got %v, and %d questions say yes", name, err, yes)
			}
			if got := dbfx.Constraint(wrapped); got != tt.constraint {
				t.Errorf("%s: got constraint %q, want %q", name, got, tt.constraint)
			}
		}
		for _, err := range []error{nil, errBoom, context.Canceled, dbfx.ErrClosed, insert("(")} {
			for i, ask := range questions {
				if ask(err) {
					t.Errorf("question %d says yes to %v", i, err)
				}
			}
			if got := dbfx.Constraint(err); got != "" {
				t.Errorf("%v has the constraint %q", err, got)
			}
		}
	})
}
