package dbfx

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"unicode"

	"go.uber.org/zap"
)

// echo logs every statement: SQL_ECHO, which can be switched.
type echo struct {
	log    *zap.Logger
	params bool
	on     atomic.Bool
}

// SetEcho begins or ends to log every statement, as SQL_ECHO does at the start.
// Arguments are logged only where SQL_ECHO_PARAMS was set.
func (s *Sessions) SetEcho(on bool) { s.observers.setEcho(on) }

// Echo reports whether every statement is logged.
func (s *Sessions) Echo() bool { return s.observers.echo.on.Load() }

// statement logs one. An error is logged by its text alone: a
// field of type error would bring PgError.Detail, which holds values of the row.
func (e *echo) statement(s StatementEvent) {
	fields := make([]zap.Field, 0, 6)
	fields = append(fields, zap.String("sql", s.SQL), zap.Duration("duration", s.Duration))
	if s.Rows >= 0 {
		fields = append(fields, zap.Int64("rows", s.Rows))
	}
	if s.Session != "" {
		fields = append(fields, zap.String("session", s.Session))
	}
	if e.params && len(s.Args) > 0 {
		fields = append(fields, zap.Strings("params", show(s.Args)))
	}
	if s.Err != nil {
		fields = append(fields, zap.String("error", e.text(s)))
	}
	e.log.Info("sql", fields...)
}

// text is that of the statement's error, unless it may quote an argument that is not to
// be logged. PostgreSQL's data exceptions quote them, or a row's values, and so does
// whatever reads a name, a path or a query from an argument.
func (e *echo) text(s StatementEvent) string {
	text := s.Err.Error()
	if e.params {
		return text
	}
	var state interface{ SQLState() string }
	code := ""
	if errors.As(s.Err, &state) {
		code = state.SQLState()
	}
	if !strings.HasPrefix(code, "22") && !quotesOne(text, s.SQL, s.Args) {
		return text
	}
	if code == "" {
		code = "class " + s.Class
	} else {
		code = "SQLSTATE " + code
	}
	return code + "; its text may quote an argument, SQL_ECHO_PARAMS shows it"
}

// quotesOne reports whether text has an argument in it, or a word of one, that the
// statement's own text does not have. Case does not count, and two letters do not.
func quotesOne(text, query string, args []any) bool {
	text, query = strings.ToLower(text), strings.ToLower(query)
	words := strings.FieldsFunc(text, func(r rune) bool {
		return unicode.IsSpace(r) || unicode.In(r, unicode.Pi, unicode.Pf, unicode.Ps, unicode.Pe) || strings.ContainsRune(`"'`+"`„‚,;:", r)
	})
	words = slices.DeleteFunc(words, func(w string) bool {
		return len(w) < 3 || strings.Contains(query, w) || w == "error" || w == "sqlstate"
	})
	for _, arg := range args {
		value := fmt.Sprint(arg)
		if b, ok := arg.([]byte); ok {
			value = string(b)
		}
		value = strings.ToLower(value)
		if len(value) > 2 && strings.Contains(text, value) && !strings.Contains(query, value) {
			return true
		}
		if slices.ContainsFunc(words, func(w string) bool { return strings.Contains(value, w) }) {
			return true
		}
	}
	return false
}

// showMost is how much of one argument is shown, as in SQLAlchemy.
const showMost = 300

func show(args []any) []string {
	texts := make([]string, len(args))
	for i, arg := range args {
		if b, ok := arg.([]byte); ok {
			texts[i] = fmt.Sprintf("<%d bytes>", len(b))
			continue
		}
		texts[i] = fmt.Sprint(arg)
		if len(texts[i]) > showMost {
			texts[i] = texts[i][:showMost] + "…"
		}
	}
	return texts
}
