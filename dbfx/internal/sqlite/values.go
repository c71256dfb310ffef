package sqlite

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// timeFormat is how a time is stored: in UTC, to the microsecond as PostgreSQL
// keeps it, without a zone. So texts sort as times do, and a whole second is the
// same text as CURRENT_TIMESTAMP gives.
const timeFormat = "2006-01-02 15:04:05.999999"

var errText = errors.New("invalid byte sequence for encoding UTF8: PostgreSQL stores neither NUL nor broken UTF-8 in a text")

// bind makes the arguments agree with what PostgreSQL stores and refuses. It
// changes args in place; database/sql makes them for each call.
func bind(p *plan, args []driver.NamedValue) error {
	if len(args) == 0 {
		return nil
	}
	for i := range args {
		switch v := args[i].Value.(type) {
		case time.Time:
			args[i].Value = v.UTC().Truncate(time.Microsecond).Format(timeFormat)
		case string:
			if strings.IndexByte(v, 0) >= 0 || !utf8.ValidString(v) {
				return fmt.Errorf("argument %d: %w", i+1, errText)
			}
		}
	}
	if p.counted && len(args) > p.params {
		return fmt.Errorf("expected %d arguments, got %d", p.params, len(args))
	}
	return nil
}

// parameters counts the positional parameters of query; not ok where one has a
// name. The driver ignores arguments that are too many.
func parameters(query string) (n int, ok bool) {
	for i := 0; i < len(query); i++ {
		switch c := query[i]; c {
		case '\'', '"', '`', '[':
			i = skipQuoted(query, i)
		case '-', '/':
			i = skipComment(query, i)
		case '?', '$':
			number, digits := 0, 0
			for j := i + 1; j < len(query) && query[j] >= '0' && query[j] <= '9' && digits < 6; j++ {
				number, digits = 10*number+int(query[j]-'0'), digits+1
			}
			switch {
			case digits > 0:
				n = max(n, number)
			case c == '?':
				n++
			default:
				return 0, false // $name
			}
			i += digits
		case ':', '@':
			if i+1 < len(query) && isWord(query[i+1]) {
				return 0, false
			}
		}
	}
	return n, true
}

func isWord(c byte) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// skipQuoted returns the index of the quote that closes the one at i.
func skipQuoted(query string, i int) int {
	end := query[i]
	if end == '[' {
		end = ']'
	}
	for i++; i < len(query) && query[i] != end; i++ {
	}
	return i
}

// skipComment returns the last index of the comment that begins at i, or i.
func skipComment(query string, i int) int {
	switch rest := query[i:]; {
	case strings.HasPrefix(rest, "--"):
		if j := strings.IndexByte(rest, '\n'); j >= 0 {
			return i + j
		}
		return len(query)
	case strings.HasPrefix(rest, "/*"):
		if j := strings.Index(rest[2:], "*/"); j >= 0 {
			return i + 2 + j + 1
		}
		return len(query)
	}
	return i
}

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
