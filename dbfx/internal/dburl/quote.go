package dburl

import (
	"errors"
	"strings"
	"unicode"
)

// quote percent-encodes all but RFC 3986's unreserved characters.
func quote(text string) string {
	return escape(text, func(c byte) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~", c) >= 0
	})
}

// quotePath percent-encodes only what a SQLite URL needs, because SQLAlchemy
// 2.0 does not decode a path: %, ?, controls, and a space that trimming would
// take.
func quotePath(path string) string {
	end := strings.TrimRightFunc(path, unicode.IsSpace)
	return escape(end, func(c byte) bool { return c != '%' && c != '?' && c >= ' ' && c != 0x7f }) + quote(path[len(end):])
}

func escape(text string, plain func(byte) bool) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(text) {
		if c := text[i]; plain(c) {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		}
	}
	return b.String()
}

// unquote decodes %XX and leaves what is not that, as urllib.parse.unquote does.
func unquote(text string) string {
	if !strings.Contains(text, "%") {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if c, ok := decode(text[i:]); ok {
			b.WriteByte(c)
			i += 2
			continue
		}
		b.WriteByte(text[i])
	}
	return b.String()
}

// unquoteStrict refuses a % that begins no %XX, and %00, as libpq does.
func unquoteStrict(text string) (string, error) {
	for i := 0; i < len(text); i++ {
		if text[i] != '%' {
			continue
		}
		if c, ok := decode(text[i:]); !ok || c == 0 {
			return "", errors.New("want a host without a broken percent-encoding")
		}
		i += 2
	}
	return unquote(text), nil
}

// decode returns the byte that text begins with as %XX.
func decode(text string) (byte, bool) {
	if len(text) < 3 || text[0] != '%' {
		return 0, false
	}
	hi, lo := nibble(text[1]), nibble(text[2])
	return hi<<4 | lo, hi < 16 && lo < 16
}

func nibble(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	}
	return 255
}

// parseQuery reads key=value&key=value as Python's parse_qsl does, a + as a
// space, except that an item without = is refused, as libpq does.
func parseQuery(raw string) ([]argument, error) {
	var list []argument
	for item := range strings.SplitSeq(raw, "&") {
		if item == "" {
			continue
		}
		key, value, ok := strings.Cut(item, "=")
		if !ok {
			return nil, errors.New(`want key=value for each argument, got one without "="`)
		}
		arg := argument{unquote(strings.ReplaceAll(key, "+", " ")), unquote(strings.ReplaceAll(value, "+", " "))}
		if strings.ContainsRune(arg.key+arg.value, 0) {
			return nil, errNUL
		}
		list = append(list, arg)
	}
	return list, nil
}
