package dbfx

import (
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"

	"go.uber.org/zap/zapcore"

	"github.com/sergas/dbkit/dbfx/internal/dburl"
)

// String shows where c connects and every setting, the secrets masked. It is
// what %v and %+v print.
func (c Config) String() string {
	var b strings.Builder
	b.WriteString("dbfx.Config{" + c.where())
	for _, s := range settings {
		fmt.Fprintf(&b, " %s=%q", s.name, s.show(&c))
	}
	b.WriteByte('}')
	return b.String()
}

// GoString is String: %#v would show the fields.
func (c Config) GoString() string { return c.String() }

// MarshalLogObject implements zapcore.ObjectMarshaler, masked.
func (c Config) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	enc.AddString("database", c.where())
	for _, s := range settings {
		enc.AddString(s.name, s.show(&c))
	}
	return nil
}

// LogValue implements slog.LogValuer, masked.
func (c Config) LogValue() slog.Value {
	attrs := []slog.Attr{slog.String("database", c.where())}
	for _, s := range settings {
		attrs = append(attrs, slog.String(s.name, s.show(&c)))
	}
	return slog.GroupValue(attrs...)
}

// where names the engine and the place.
func (c Config) where() string {
	loc, err := c.location()
	if err != nil {
		return "an invalid DATABASE_URL;"
	}
	if loc.Dialect == dburl.SQLite {
		return "sqlite at " + loc.Path
	}
	hosts := make([]string, len(loc.Hosts))
	for i, h := range loc.Hosts {
		hosts[i] = h.Name
		if h.Port != 0 {
			hosts[i] = net.JoinHostPort(h.Name, strconv.Itoa(h.Port))
		}
	}
	return fmt.Sprintf("postgresql at %s/%s as %s", strings.Join(hosts, ","), loc.Database, loc.User)
}
