package dbfx

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"unique"
)

// mask stands for a secret wherever one would be printed.
const mask = "***"

// Secret is a text that no formatter, encoder or logger shows.
//
// It prints as *** under every verb of fmt, in JSON, in text encodings, in
// slog and in zap, also from an unexported field: fmt does not call methods
// there, and finds only a pointer. Two Secrets are == when their texts are.
// The zero value is the empty text.
type Secret struct {
	text unique.Handle[string]
}

// NewSecret wraps text.
func NewSecret(text string) Secret {
	if text == "" {
		return Secret{}
	}
	return Secret{text: unique.Make(text)}
}

// Reveal returns the text. Hand it to the one who needs it; do not log it.
func (s Secret) Reveal() string {
	if s.IsEmpty() {
		return ""
	}
	return s.text.Value()
}

// IsEmpty reports whether there is no text.
func (s Secret) IsEmpty() bool { return s == Secret{} }

// String returns ***, or the empty text for the empty secret.
func (s Secret) String() string {
	if s.IsEmpty() {
		return ""
	}
	return mask
}

// GoString masks %#v.
func (s Secret) GoString() string { return fmt.Sprintf("dbfx.Secret(%q)", s.String()) }

// Format masks every verb; without it %d and %x would reach the text.
func (s Secret) Format(f fmt.State, verb rune) {
	if verb == 'v' && f.Flag('#') {
		_, _ = f.Write([]byte(s.GoString()))
		return
	}
	_, _ = f.Write([]byte(s.String()))
}

// MarshalJSON masks the secret in JSON, and so in zap.Any and zap.Reflect.
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

// MarshalText masks the secret in text encodings.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue masks the secret in slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }
