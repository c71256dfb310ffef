package postgres

import (
	"strings"

	"golang.org/x/text/unicode/norm"
)

// saslprep makes a password what RFC 4013, and so PostgreSQL and libpq, store and
// send in SCRAM: pgx leaves out the compatibility characters, so that it is refused
// with a password such as "ﬁsh", which psql takes. What RFC 4013 forbids is not
// looked for: PostgreSQL then uses the password as it is, which is tried first.
func saslprep(password string) string {
	ascii := true
	for _, r := range password {
		ascii = ascii && r < 0x80
	}
	if ascii {
		return password
	}
	return norm.NFKC.String(strings.Map(func(r rune) rune {
		switch {
		case r == 0x00A0, r == 0x1680, 0x2000 <= r && r <= 0x200B, r == 0x202F, r == 0x205F, r == 0x3000:
			return ' ' // RFC 3454, C.1.2: spaces
		case r == 0x00AD, r == 0x034F, r == 0x1806, 0x180B <= r && r <= 0x180D, 0x200C <= r && r <= 0x200D,
			r == 0x2060, 0xFE00 <= r && r <= 0xFE0F, r == 0xFEFF:
			return -1 // RFC 3454, B.1: mapped to nothing
		}
		return r
	}, password))
}
