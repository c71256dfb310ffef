package sqlite

import (
	"database/sql/driver"
	"reflect"
	"strings"
	"time"
)

// kind is what a column's declared type makes of its values.
type kind byte

const (
	asIs kind = iota
	asBool
	asTime
)

// kinds reads the declared types of a result; nil where none is special.
func kinds(rows rawRows) []kind {
	var list []kind
	for i := range rows.Columns() {
		name := rows.ColumnTypeDatabaseTypeName(i)
		if j := strings.IndexByte(name, '('); j >= 0 { // TIMESTAMP(6) WITH TIME ZONE
			name = strings.TrimSpace(name[:j])
		}
		k := asIs
		switch {
		case name == "BOOLEAN" || name == "BOOL":
			k = asBool
		case strings.HasPrefix(name, "TIMESTAMP") || name == "DATETIME" || name == "DATE":
			k = asTime
		}
		if k != asIs {
			if list == nil {
				list = make([]kind, len(rows.Columns()))
			}
			list[i] = k
		}
	}
	return list
}

// scanType is the Go type of a column's values, as pgx gives it: kinds is nil or
// has one for each column. A column without a type of its own is any.
func scanType(rows rawRows, kinds []kind, i int) reflect.Type {
	if kinds != nil {
		switch kinds[i] {
		case asBool:
			return reflect.TypeFor[bool]()
		case asTime:
			return reflect.TypeFor[time.Time]()
		}
	}
	if t := rows.ColumnTypeScanType(i); t != nil {
		return t
	}
	return reflect.TypeFor[any]() // the driver has none for NULL, and reflect.New(nil) panics
}

// convert makes a row agree with what pgx gives.
func convert(dest []driver.Value, kinds []kind) {
	for i, value := range dest {
		if b, ok := value.([]byte); ok && b == nil {
			dest[i] = []byte{} // empty, and not NULL
			continue
		}
		if kinds == nil || kinds[i] == asIs {
			continue
		}
		switch v := value.(type) {
		case int64:
			if kinds[i] == asBool && (v == 0 || v == 1) {
				dest[i] = v == 1
			}
		case string:
			if kinds[i] == asTime {
				if t, ok := parseTime(v); ok {
					dest[i] = t
				}
			}
		}
	}
}

// readFormats are those that SQLite's own functions and other programs write.
var readFormats = []string{
	"2006-01-02 15:04:05.999999999", "2006-01-02 15:04:05.999999999Z07:00", "2006-01-02T15:04:05.999999999Z07:00",
	"2006-01-02T15:04:05.999999999", "2006-01-02", "2006-01-02 15:04",
}

func parseTime(text string) (time.Time, bool) {
	for _, format := range readFormats {
		if t, err := time.Parse(format, text); err == nil {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}
