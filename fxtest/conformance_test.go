package fxtest_test

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

// probe does one everyday thing and says what came of it.
type probe struct {
	name string
	do   func(ctx context.Context, tx *dbfx.Session) (any, error)
}

const conformanceDDL = `create table p (
	id integer primary key, t text, b boolean, n integer, big bigint, f double precision, ts timestamp, tz timestamptz,
	tl timestamp with time zone, d date, bin bytea, vc varchar(3), num numeric(10,2), made timestamp default current_timestamp,
	ck integer check (ck > 0), uq text unique)`

// get returns the first column of the first row as any, or into dest.
func getting(query string, args ...any) func(context.Context, *dbfx.Session) (any, error) {
	return func(ctx context.Context, tx *dbfx.Session) (v any, err error) {
		return v, tx.QueryRowContext(ctx, query, args...).Scan(&v)
	}
}

func into[T any](query string, args ...any) func(context.Context, *dbfx.Session) (any, error) {
	return func(ctx context.Context, tx *dbfx.Session) (any, error) {
		var v T
		err := tx.QueryRowContext(ctx, query, args...).Scan(&v)
		return v, err
	}
}

func doing(query string, args ...any) func(context.Context, *dbfx.Session) (any, error) {
	return func(ctx context.Context, tx *dbfx.Session) (any, error) {
		result, err := tx.ExecContext(ctx, query, args...)
		if err != nil {
			return nil, err
		}
		return result.RowsAffected()
	}
}

// then does each, and returns what came of the last.
func then(steps ...func(context.Context, *dbfx.Session) (any, error)) func(context.Context, *dbfx.Session) (any, error) {
	return func(ctx context.Context, tx *dbfx.Session) (v any, err error) {
		for _, step := range steps {
			if v, err = step(ctx, tx); err != nil {
				return nil, err
			}
		}
		return v, nil
	}
}

// stored writes value into a column and returns it as any.
func stored(column string, value any) func(context.Context, *dbfx.Session) (any, error) {
	return then(doing("insert into p (id, "+column+") values (1, $1)", value), getting("select "+column+" from p"))
}

func storedInto[T any](column string, value any) func(context.Context, *dbfx.Session) (any, error) {
	return then(doing("insert into p (id, "+column+") values (1, $1)", value), into[T]("select "+column+" from p"))
}

// list returns the first column of every row.
func list(query string, args ...any) func(context.Context, *dbfx.Session) (any, error) {
	return func(ctx context.Context, tx *dbfx.Session) (any, error) {
		rows, err := tx.QueryContext(ctx, query, args...)
		if err != nil {
			return nil, err
		}
		defer func() { _ = rows.Close() }()
		var all []string
		for rows.Next() {
			var v any
			if err := rows.Scan(&v); err != nil {
				return nil, err
			}
			all = append(all, show(v))
		}
		return all, rows.Err()
	}
}

// columnTypes returns what reflect.New is to be given for each column.
func columnTypes(query string) func(context.Context, *dbfx.Session) (any, error) {
	return func(ctx context.Context, tx *dbfx.Session) (any, error) {
		rows, err := tx.QueryContext(ctx, query)
		if err != nil {
			return nil, err
		}
		defer func() { _ = rows.Close() }()
		types, err := rows.ColumnTypes()
		if err != nil {
			return nil, err
		}
		var names []string
		for _, t := range types {
			names = append(names, fmt.Sprint(t.ScanType()))
		}
		return names, rows.Err()
	}
}

var (
	berlin = time.FixedZone("CET", 3600)
	noon   = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	nanos  = time.Date(2026, 3, 4, 12, 0, 0, 123456789, berlin)
)

var probes = []probe{
	{"text", stored("t", "ä漢😀")},
	{"text empty", stored("t", "")},
	{"text NULL", stored("t", nil)},
	{"text into *string NULL", storedInto[*string]("t", nil)},
	{"text with NUL byte", stored("t", "a\x00b")},
	{"text with broken UTF-8", stored("t", "a\xffb")},
	{"text with quotes", stored("t", `a'b"c\d`)},
	{"text into []byte", storedInto[[]byte]("t", "abc")},
	{"integer", stored("n", 42)},
	{"integer negative", stored("n", -42)},
	{"integer into int64", storedInto[int64]("n", 42)},
	{"integer into string", storedInto[string]("n", 42)},
	{"integer from string", stored("n", "42")},
	{"integer from word", stored("n", "word")},
	{"integer from float", stored("n", 1.5)},
	{"integer out of range", stored("n", int64(1)<<40)},
	{"bigint", stored("big", int64(1)<<62)},
	{"bigint from uint64 too large", stored("big", uint64(1)<<63)},
	{"text from int", stored("t", 5)},
	{"boolean true", stored("b", true)},
	{"boolean false", stored("b", false)},
	{"boolean NULL", stored("b", nil)},
	{"boolean into bool", storedInto[bool]("b", true)},
	{"boolean into sql.NullBool", storedInto[sql.NullBool]("b", nil)},
	{"boolean from literal", then(doing("insert into p (id, b) values (1, true)"), getting("select b from p"))},
	{"boolean in where", then(doing("insert into p (id, b) values (1, $1), (2, $2)", true, false), list("select id from p where b"))},
	{"boolean compared", then(doing("insert into p (id, b) values (1, $1)", true), list("select id from p where b = $1", true))},
	{"boolean expression", getting("select 1 = 1")},
	{"double", stored("f", 1.25)},
	{"double from int", stored("f", 3)},
	{"double into float64", storedInto[float64]("f", 0.1)},
	{"numeric", stored("num", "12.50")},
	{"numeric into float64", storedInto[float64]("num", "12.50")},
	{"numeric literal", getting("select 1.5")},
	{"timestamp whole second", stored("ts", noon)},
	{"timestamp in another zone", stored("tz", nanos)},
	{"timestamptz", stored("tz", noon)},
	{"timestamp with time zone", stored("tl", noon.In(berlin))},
	{"timestamp into time.Time", storedInto[time.Time]("ts", noon)},
	{"timestamp into *time.Time NULL", storedInto[*time.Time]("ts", nil)},
	{"timestamp into sql.NullTime", storedInto[sql.NullTime]("ts", noon)},
	{"date", stored("d", time.Date(2026, 3, 4, 0, 0, 0, 0, time.UTC))},
	{"date into time.Time", storedInto[time.Time]("d", time.Date(2026, 3, 4, 0, 0, 0, 0, time.UTC))},
	{"timestamp compared across zones", then(doing("insert into p (id, tz) values (1, $1)", noon), list("select id from p where tz = $1", noon.In(berlin)))},
	{"timestamps ordered", then(doing("insert into p (id, tz) values (1, $1), (2, $2), (3, $3)", noon.Add(time.Millisecond), noon, noon.Add(time.Second).In(berlin)),
		list("select id from p order by tz"))},
	{"timestamp range", then(doing("insert into p (id, ts) values (1, $1), (2, $2)", noon, noon.Add(500*time.Millisecond)),
		list("select id from p where ts > $1 and ts < $2", noon, noon.Add(time.Second)))},
	{"timestamp default is a time", then(doing("insert into p (id) values (1)"), func(ctx context.Context, tx *dbfx.Session) (any, error) {
		var made time.Time
		err := tx.QueryRowContext(ctx, "select made from p").Scan(&made)
		return time.Since(made).Abs() < 25*time.Hour, err // PostgreSQL gives the server's local time
	})},
	{"timestamp maximum", then(doing("insert into p (id, ts) values (1, $1)", noon), getting("select max(ts) from p"))},
	{"time in the year 10000", stored("ts", noon.AddDate(10000-2026, 0, 0))},
	{"time in the year 9999", stored("ts", noon.AddDate(9999-2026, 0, 0))},
	{"double NaN", stored("f", math.NaN())},
	{"double infinity", stored("f", math.Inf(-1))},
	{"types of empty columns", columnTypes("select b, ts, tz, d from p")},
	{"types of columns", then(doing("insert into p (id, b, ts, tz, d, n) values (1, $1, $2, $3, $4, null)", true, noon, noon, noon),
		columnTypes("select b, ts, tz, d from p"))},
	{"types of columns of NULL", then(doing("insert into p (id) values (1)"), columnTypes("select b, ts, tz, d from p"))},
	{"bytes", stored("bin", []byte{0, 1, 255})},
	{"bytes empty", stored("bin", []byte{})},
	{"bytes nil", stored("bin", []byte(nil))},
	{"bytes NULL into []byte", storedInto[[]byte]("bin", nil)},
	{"bytes empty is not NULL", then(doing("insert into p (id, bin) values (1, $1)", []byte{}), list("select id from p where bin is not null"))},
	{"varchar too long", stored("vc", "four")},
	{"arguments too many", doing("insert into p (id) values ($1)", 1, 2)},
	{"arguments too few", doing("insert into p (id, n) values ($1, $2)", 1)},
	{"arguments without placeholder", getting("select 1", 2)},
	{"argument used twice", then(doing("insert into p (id, n) values ($1, $1)", 7), list("select id + n from p"))},
	{"arguments out of order", then(doing("insert into p (id, n) values ($2, $1)", 5, 6), list("select id from p"))},
	{"question mark in a text", getting("select '?'")},
	{"exec empty", doing("")},
	{"exec comment", doing("-- nothing")},
	{"exec several statements", then(doing("insert into p (id) values (1); insert into p (id) values (2)"), list("select id from p order by id"))},
	{"rows affected by update", then(doing("insert into p (id) values (1), (2)"), doing("update p set n = 1"))},
	{"rows affected by nothing", doing("update p set n = 1 where id = 99")},
	{"rows affected by delete", then(doing("insert into p (id) values (1), (2)"), doing("delete from p"))},
	{"insert returning", getting("insert into p (id, t) values (7, 'x') returning id")},
	{"upsert", then(doing("insert into p (id, n) values (1, 1)"), doing("insert into p (id, n) values (1, 2) on conflict (id) do update set n = excluded.n"), getting("select n from p"))},
	{"unique violation", then(doing("insert into p (id, uq) values (1, 'a')"), doing("insert into p (id, uq) values (2, 'a')"))},
	{"check violation", doing("insert into p (id, ck) values (1, 0)")},
	{"no such table", doing("select * from nowhere")},
	{"no such column", getting("select nothing from p")},
	{"syntax error", doing("selec 1")},
	{"division by zero", getting("select 1 / 0")},
	{"integer division", getting("select 7 / 2")},
	{"text concatenation", getting("select 'a' || 'b'")},
	{"text concatenation with NULL", getting("select 'a' || null")},
	{"coalesce", getting("select coalesce(null, 'x')")},
	{"case", getting("select case when 1 = 1 then 'y' else 'n' end")},
	{"count", getting("select count(*) from p")},
	{"sum of integers", then(doing("insert into p (id, n) values (1, 2), (2, 3)"), into[int64]("select sum(n) from p"))},
	{"average of integers", then(doing("insert into p (id, n) values (1, 2), (2, 3)"), into[float64]("select avg(n) from p"))},
	{"order of NULL", then(doing("insert into p (id, n) values (1, null), (2, 1)"), list("select id from p order by n"))},
	{"order of NULL, said", then(doing("insert into p (id, n) values (1, null), (2, 1)"), list("select id from p order by n nulls first"))},
	{"order of texts", then(doing("insert into p (id, t) values (1, 'b'), (2, 'A'), (3, 'a'), (4, 'B')"), list("select t from p order by t"))},
	{"like ignores case", list("select 1 where 'ABC' like 'abc'")},
	{"like of the same case", list("select 1 where 'abc' like 'a%'")},
	{"limit and offset", then(doing("insert into p (id) values (1), (2), (3)"), list("select id from p order by id limit 1 offset 1"))},
	{"double quotes around a text", getting(`select "nothing"`)},
	{"recursive with", list("with recursive n(i) as (select 1 union all select i + 1 from n where i < 3) select i from n")},
	{"window function", then(doing("insert into p (id) values (1), (2)"), list("select row_number() over (order by id desc) from p"))},
	{"json text", getting(`select '{"a":1}'`)},
	{"no rows", getting("select id from p where id = 99")},
	{"prepared twice", func(ctx context.Context, tx *dbfx.Session) (any, error) {
		stmt, err := tx.PrepareContext(ctx, "insert into p (id, b) values ($1, $2) returning b")
		if err != nil {
			return nil, err
		}
		defer func() { _ = stmt.Close() }()
		var a, b any
		if err := stmt.QueryRowContext(ctx, 1, true).Scan(&a); err != nil {
			return nil, err
		}
		return []any{a, b}, stmt.QueryRowContext(ctx, 2, false).Scan(&b)
	}},
}

// show writes a value with its type, and a time in UTC.
func show(v any) string {
	switch v := v.(type) {
	case time.Time:
		return "time " + v.UTC().Format(time.RFC3339Nano)
	case *time.Time:
		if v != nil {
			return show(*v)
		}
	case sql.NullTime:
		return fmt.Sprint("null time ", v.Valid, v.Time.UTC())
	}
	return fmt.Sprintf("%T %#v", v, v)
}

func result(v any, err error) string {
	if err == nil {
		return show(v)
	}
	for name, is := range map[string]func(error) bool{
		"unique": dbfx.IsUniqueViolation, "check": dbfx.IsCheckViolation, "not null": dbfx.IsNotNullViolation,
		"no rows": func(err error) bool { return err == sql.ErrNoRows }, //nolint:errorlint // it comes bare
	} {
		if is(err) {
			return "error: " + name
		}
	}
	return "error"
}

// TestConformance runs every probe on both engines. What differs must stand in
// the table of docs/portability.md, and what stands there must differ.
func TestConformance(t *testing.T) {
	t.Parallel()
	if len(probes) < 60 {
		t.Errorf("only %d probes", len(probes))
	}
	var mu sync.Mutex
	got := map[dbfx.Dialect]map[string]string{}
	t.Run("on", func(t *testing.T) {
		fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
			app := fxtest.New(t, fxtest.Use(cfg))
			if _, err := app.DB.ExecContext(t.Context(), conformanceDDL); err != nil {
				t.Fatal(err)
			}
			results := map[string]string{}
			for _, p := range probes {
				_ = app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
					results[p.name] = result(p.do(ctx, tx))
					return errBoom // leave the table empty
				})
			}
			mu.Lock()
			defer mu.Unlock()
			got[cfg.Dialect()] = results
		})
	})
	if len(got) < 2 {
		t.Skip("fxtest: no PostgreSQL to compare with")
	}
	text, err := os.ReadFile("../docs/portability.md")
	if err != nil {
		t.Fatal(err)
	}
	same := 0
	for _, p := range probes {
		pg, lite := got[dbfx.Postgres][p.name], got[dbfx.SQLite][p.name]
		listed := strings.Contains(string(text), "| "+p.name+" |")
		switch {
		case pg == lite && listed:
			t.Errorf("%s: docs/portability.md lists it, but both give %s", p.name, pg)
		case pg != lite && !listed:
			t.Errorf("%s: PostgreSQL gives %s, SQLite %s, and docs/portability.md does not list it", p.name, pg, lite)
		case pg == lite:
			same++
		}
	}
	t.Logf("%d probes, %d agree", len(probes), same)
}
