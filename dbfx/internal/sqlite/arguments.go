package sqlite

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"
)

var (
	errText = errors.New("invalid byte sequence for encoding UTF8: PostgreSQL stores neither NUL nor broken UTF-8 in a text")
	errNaN  = errors.New("NaN: SQLite would store NULL; it has no such number")
)

// bind makes the arguments agree with what PostgreSQL stores and refuses. It
// changes args in place; database/sql makes them for each call.
func bind(p *plan, args []driver.NamedValue) error {
	if len(args) == 0 {
		return nil
	}
	for i := range args {
		var err error
		switch v := args[i].Value.(type) {
		case time.Time:
			args[i].Value, err = formatTime(v)
		case float64:
			if math.IsNaN(v) {
				err = errNaN
			}
		case string:
			if strings.IndexByte(v, 0) >= 0 || !utf8.ValidString(v) {
				err = errText
			}
		}
		if err != nil {
			return fmt.Errorf("argument %d: %w", i+1, err)
		}
	}
	if p.counted && len(args) > p.params {
		return fmt.Errorf("expected %d arguments, got %d", p.params, len(args))
	}
	return nil
}

// The forms of a stored time: in UTC, without a zone, to the microsecond as
// PostgreSQL keeps it. Texts sort as times do.
//
// A whole second is the text that CURRENT_TIMESTAMP gives, and a fraction has six
// digits, which is the text that SQLAlchemy writes: both are found by =. SQLAlchemy
// 1.4 reads the fraction .5 as 5 microseconds.
const (
	wholeSecond = "2006-01-02 15:04:05"
	microsecond = "2006-01-02 15:04:05.000000"
)

// formatTime writes a time as SQLite stores it. Out of the years 0 to 9999 the
// text would have another length, and texts would not sort as times.
func formatTime(t time.Time) (string, error) {
	t = t.UTC().Truncate(time.Microsecond)
	if y := t.Year(); y < 0 || y > 9999 {
		return "", fmt.Errorf("a time in the year %d: SQLite's texts hold the years 0 to 9999", y)
	}
	if t.Nanosecond() == 0 {
		return t.Format(wholeSecond), nil
	}
	return t.Format(microsecond), nil
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
		default:
			if isWord(c) { // a name may hold a $
				for i+1 < len(query) && (isWord(query[i+1]) || query[i+1] == '$') {
					i++
				}
			}
		}
	}
	return n, true
}

// isWord says what SQLite takes in a name: also every byte beyond ASCII.
func isWord(c byte) bool {
	return c >= utf8.RuneSelf || c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
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
