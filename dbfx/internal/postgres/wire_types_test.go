package postgres_test

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/sergas/dbkit/dbfx/internal/postgres"
	"github.com/sergas/dbkit/fxtest"
)

// types are values of forty types.
const types = `select true, 1::int2, 2::int4, 3::int8, 1.5::float4, 2.5::float8, 12.345::numeric(10, 4), 'NaN'::numeric,
	'text'::text, 'varchar'::varchar(20), 'char'::char(7), 'c'::"char", 'name'::name, '\x00ff'::bytea, '{"a": 1}'::json, '{"a": 1}'::jsonb,
	'2001-02-03'::date, '04:05:06.7'::time, '04:05:06+01'::timetz, '2001-02-03 04:05:06'::timestamp, '2001-02-03 04:05:06+01'::timestamptz,
	'1 year 2 days'::interval, '550e8400-e29b-41d4-a716-446655440000'::uuid, '10.0.0.1'::inet, '10.0.0.0/8'::cidr, '08:00:2b:01:02:03'::macaddr,
	'101'::bit(3), '1010'::varbit, '(1,2)'::point, '[(0,0),(1,1)]'::lseg, '((0,0),(1,1))'::box, '<(0,0),1>'::circle, '{1,2,3}'::int4[], '{a,"b c"}'::text[],
	'[1,5)'::int4range, '[2001-01-01,2002-01-01)'::daterange, 'a:1 b'::tsvector, 'a & b'::tsquery, 12.34::money, 42::oid, null::text, '0/16B3748'::pg_lsn,
	$1::int`

// described is all that database/sql tells of a result.
func described(t *testing.T, conn *sql.Conn) (columns []string, values [][]any) {
	t.Helper()
	rows, err := conn.QueryContext(t.Context(), types, 7)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	kinds, err := rows.ColumnTypes()
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range kinds {
		length, hasLength := k.Length()
		precision, scale, isDecimal := k.DecimalSize()
		columns = append(columns, fmt.Sprint(k.Name(), k.DatabaseTypeName(), k.ScanType(), length, hasLength, precision, scale, isDecimal))
	}
	for rows.Next() {
		row, to := make([]any, len(kinds)), make([]any, len(kinds))
		for i := range row {
			to[i] = &row[i]
		}
		if err := rows.Scan(to...); err != nil {
			t.Fatal(err)
		}
		values = append(values, row)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return columns, values
}

func TestWire_ValuesAndTypesAreThoseOfAPlainTransaction(t *testing.T) {
	t.Parallel()
	url := fxtest.Postgres(t).URL()
	for _, mode := range modes {
		t.Run(strings.ReplaceAll(mode.String(), " ", "_"), func(t *testing.T) {
			t.Parallel()
			config, err := pgx.ParseConfig(url)
			if err != nil {
				t.Fatal(err)
			}
			config.DefaultQueryExecMode = mode
			var wire postgres.Wire
			config.BuildFrontend = func(r io.Reader, w io.Writer) (frontend *pgproto3.Frontend) {
				wire, frontend = postgres.NewWire(r, w)
				return frontend
			}
			db := stdlib.OpenDB(*config)
			t.Cleanup(func() { _ = db.Close() })
			conn, err := db.Conn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = conn.Close() })
			exec := func(query string) {
				if _, err := conn.ExecContext(context.Background(), query); err != nil {
					t.Fatal(err)
				}
			}
			exec("begin")
			wantColumns, wantValues := described(t, conn)
			exec("rollback")
			if len(wantColumns) < 40 {
				t.Fatalf("only %d types", len(wantColumns))
			}
			for try := range 3 { // at first sight and from the caches
				wire.Arm("begin")
				columns, values := described(t, conn)
				wire.Disarm()
				exec("rollback")
				if !reflect.DeepEqual(columns, wantColumns) || !reflect.DeepEqual(values, wantValues) {
					t.Errorf("try %d: got %v\n%v\nwant %v\n%v", try, columns, values, wantColumns, wantValues)
				}
			}
		})
	}
}
