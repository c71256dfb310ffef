package dbfx

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

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
		fields = append(fields, zap.String("error", e.text(s.Err)))
	}
	e.log.Info("sql", fields...)
}

// text is that of an error, unless it may quote an argument that is not to be logged:
// PostgreSQL's data exceptions do, and pgx where it cannot send one.
func (e *echo) text(err error) string {
	var state interface{ SQLState() string }
	switch text := err.Error(); {
	case e.params:
		return text
	case errors.As(err, &state) && strings.HasPrefix(state.SQLState(), "22"):
		return "SQLSTATE " + state.SQLState() + "; its text may quote an argument, SQL_ECHO_PARAMS shows it"
	case strings.Contains(text, "failed to encode args["):
		return "an argument could not be encoded; SQL_ECHO_PARAMS shows the text"
	default:
		return text
	}
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
