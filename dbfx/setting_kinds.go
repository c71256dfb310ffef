package dbfx

import (
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

func wanted(want, got string) error { return fmt.Errorf("want %s, got %q", want, got) }

func noCheck(*Config) error { return nil }

func exact(s setting) setting {
	s.exact = true
	return s
}

func text(name string, s scope, field func(*Config) *string) setting {
	return setting{
		name: name, scope: s, check: noCheck,
		read: func(c *Config, text string) error { *field(c) = text; return nil },
		show: func(c *Config) string { return *field(c) },
	}
}

func secret(name string, field func(*Config) *Secret) setting {
	return setting{
		name: name, scope: place, check: noCheck,
		read: func(c *Config, text string) error { *field(c) = NewSecret(text); return nil },
		show: func(c *Config) string { return field(c).String() },
	}
}

// choice is a setting with a closed list of values; an empty one among them is
// no word that a person would write, and is not shown. Off is also read as false:
// YAML makes false of an off without quotes.
func choice[T ~string](name string, s scope, allowed []T, field func(*Config) *T) setting {
	words := make([]string, 0, len(allowed))
	for _, a := range allowed {
		if a != "" {
			words = append(words, string(a))
		}
	}
	check := func(c *Config) error {
		if slices.Contains(allowed, *field(c)) {
			return nil
		}
		return wanted("one of "+strings.Join(words, ", "), string(*field(c)))
	}
	return setting{
		name: name, scope: s, check: check,
		read: func(c *Config, text string) error {
			value := T(strings.ToLower(text))
			if on, ok := truth(text); ok && !on && slices.Contains(allowed, "off") {
				value = "off"
			}
			*field(c) = value
			return nil
		},
		show: func(c *Config) string { return string(*field(c)) },
	}
}

// alsoTrue makes of a choice one that takes SQLAlchemy's True for value.
func alsoTrue(value string, s setting) setting {
	read := s.read
	s.read = func(c *Config, text string) error {
		if on, ok := truth(text); ok && on {
			text = value
		}
		return read(c, text)
	}
	return s
}

// truth reads pydantic's words.
func truth(text string) (on, ok bool) {
	switch strings.ToLower(text) {
	case "1", "true", "t", "yes", "y", "on":
		return true, true
	case "0", "false", "f", "no", "n", "off":
		return false, true
	}
	return false, false
}

func whole(name string, s scope, least, most int, field func(*Config) *int) setting {
	want := fmt.Sprintf("a whole number from %d to %d", least, most)
	if most == maxConns {
		want = fmt.Sprintf("a whole number of at least %d", least)
	}
	check := func(c *Config) error {
		if n := *field(c); n < least || n > most {
			return wanted(want, strconv.Itoa(n))
		}
		return nil
	}
	read := func(c *Config, text string) error {
		n, err := strconv.Atoi(text)
		if err != nil {
			return wanted(want, text)
		}
		*field(c) = n
		return nil
	}
	return setting{name: name, scope: s, read: read, check: check,
		show: func(c *Config) string { return strconv.Itoa(*field(c)) }}
}

func duration(name string, least time.Duration, field func(*Config) *time.Duration) setting {
	want := `seconds ("30") or a duration ("30s", "1m")`
	switch least {
	case Forever:
		want += " of at least 0, or -1 for never"
	case 0:
		want += " of at least 0"
	default:
		want += " of at least " + least.String()
	}
	check := func(c *Config) error {
		d := *field(c)
		if d == Forever && least == Forever || d >= max(least, 0) && d <= longest {
			return nil
		}
		return wanted(want, d.String())
	}
	read := func(c *Config, text string) error {
		d, ok := parseDuration(text)
		if !ok {
			return wanted(want, text)
		}
		*field(c) = d
		return nil
	}
	return setting{name: name, scope: tuning, read: read, check: check,
		show: func(c *Config) string { return field(c).String() }}
}

// parseDuration reads bare seconds, as the Python users write them, and Go's
// durations.
func parseDuration(text string) (time.Duration, bool) {
	if d, err := time.ParseDuration(text); err == nil {
		return d, true
	}
	seconds, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(seconds) || math.Abs(seconds) > longest.Seconds() {
		return 0, false
	}
	return time.Duration(seconds * float64(time.Second)), true
}

func flag(name string, s scope, field func(*Config) *bool) setting {
	read := func(c *Config, text string) error {
		on, ok := truth(text)
		if !ok {
			return wanted("true or false", text)
		}
		*field(c) = on
		return nil
	}
	return setting{name: name, scope: s, read: read, check: noCheck,
		show: func(c *Config) string { return strconv.FormatBool(*field(c)) }}
}

func fileMode(name string, field func(*Config) *os.FileMode) setting {
	const want = "an octal permission that its owner can read and write, such as 0600"
	check := func(c *Config) error {
		if m := *field(c); m&0o600 != 0o600 || m&^0o666 != 0 {
			return wanted(want, fmt.Sprintf("%#o", uint32(m)))
		}
		return nil
	}
	read := func(c *Config, text string) error {
		n, err := strconv.ParseUint(strings.TrimPrefix(text, "0o"), 8, 32)
		if err != nil {
			return wanted(want, text)
		}
		*field(c) = os.FileMode(n)
		return nil
	}
	return setting{name: name, scope: tuning, read: read, check: check,
		show: func(c *Config) string { return fmt.Sprintf("%#o", uint32(*field(c))) }}
}
