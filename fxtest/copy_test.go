package fxtest_test

import (
	"context"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sergas/dbkit/dbfx"
)

// TestPostgres_CopyInASchemaFileSaysSo: pg_dump writes COPY unless told --inserts.
func TestPostgres_CopyInASchemaFileSaysSo(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"Alone":    "create table c (n integer);\ncopy c (n) from stdin;\n",
		"WithData": "create table c (n integer);\nCOPY public.c (n) FROM stdin;\n1\n2\n\\.\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			app := postgres(t, func(c *dbfx.Config) { c.PoolSize, c.MaxOverflow = 1, 0 })
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			err := app.Schema.Init(ctx, fstest.MapFS{"1_c.sql": {Data: []byte(text)}})
			if err == nil || ctx.Err() != nil || !contains(err.Error(), "1_c.sql") || !contains(err.Error(), "line 2") || !contains(err.Error(), "INSERT") {
				t.Fatalf("got %v", err)
			}
			if err := app.Schema.Init(ctx, fstest.MapFS{"1_c.sql": {Data: []byte("create table c (n integer);")}}); err != nil {
				t.Error("what was before COPY stayed: ", err)
			}
		})
	}
}

// TestPostgres_CopyWithoutDataSaysSo: the server waits for data that database/sql
// cannot give.
func TestPostgres_CopyWithoutDataSaysSo(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"cache_statement", "cache_describe", "describe_exec", "exec", "simple_protocol"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			app := postgres(t, func(c *dbfx.Config) {
				c.PoolSize, c.MaxOverflow = 1, 0
				c.DatabaseURL = dbfx.NewSecret(c.URL() + "&default_query_exec_mode=" + mode)
			})
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			for name, copyIn := range copies {
				for where, err := range map[string]error{
					"bare":    copyIn(ctx, app.DB),
					"session": app.Sessions.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error { return copyIn(ctx, tx) }),
					"nested": app.Sessions.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
						if err := tx.QueryRowContext(ctx, "select 1").Scan(new(int)); err != nil {
							return err
						}
						return app.Sessions.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error { return copyIn(ctx, tx) })
					}),
				} {
					if err == nil || !contains(err.Error(), "CopyFrom") || ctx.Err() != nil {
						t.Errorf("%s, %s: got %v", name, where, err)
					}
				}
			}
			// Who has the data gives it as ever, also on this connection.
			err := app.Sessions.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
				return tx.Raw(func(conn any) error {
					_, err := conn.(interface{ Conn() *pgx.Conn }).Conn().CopyFrom(ctx, pgx.Identifier{"kv"}, []string{"k", "v"}, pgx.CopyFromRows([][]any{{"a", 1}}))
					return err
				})
			})
			if err != nil {
				t.Error(err)
			}
			wantCount(t, app, "%", 1)
		})
	}
}

var copies = map[string]func(context.Context, dbfx.DBTX) error{
	"Exec": func(ctx context.Context, db dbfx.DBTX) error {
		_, err := db.ExecContext(ctx, "copy kv from stdin")
		return err
	},
	"several": func(ctx context.Context, db dbfx.DBTX) error {
		_, err := db.ExecContext(ctx, "select 1; copy kv from stdin; select 2")
		return err
	},
	"Query": func(ctx context.Context, db dbfx.DBTX) error {
		rows, err := db.QueryContext(ctx, "copy kv from stdin")
		if err == nil {
			err = rows.Close()
		}
		return err
	},
	"Prepare": func(ctx context.Context, db dbfx.DBTX) error {
		stmt, err := db.PrepareContext(ctx, "copy kv from stdin")
		if err != nil {
			return err
		}
		defer func() { _ = stmt.Close() }()
		_, err = stmt.ExecContext(ctx)
		return err
	},
}
