package dbfx

import (
	"context"
	"fmt"

	"go.uber.org/zap"
)

// echo logs every statement: SQL_ECHO.
type echo struct {
	log    *zap.Logger
	params bool
}

var _ ArgumentObserver = (*echo)(nil)

// WantArguments implements ArgumentObserver: SQL_ECHO_PARAMS.
func (e *echo) WantArguments() bool { return e.params }

// ObserveStatement implements Observer. An error is logged by its text alone: a
// field of type error would bring PgError.Detail, which holds values of the row.
func (e *echo) ObserveStatement(_ context.Context, s StatementEvent) {
	fields := make([]zap.Field, 0, 6)
	fields = append(fields, zap.String("sql", s.SQL), zap.Duration("duration", s.Duration))
	if s.Rows >= 0 {
		fields = append(fields, zap.Int64("rows", s.Rows))
	}
	if s.Database != "" {
		fields = append(fields, zap.String("database", s.Database))
	}
	if e.params && len(s.Args) > 0 {
		fields = append(fields, zap.Strings("params", show(s.Args)))
	}
	if s.Err != nil {
		fields = append(fields, zap.String("error", s.Err.Error()))
	}
	e.log.Info("sql", fields...)
}

// ObserveSession implements Observer; the statements tell the session too.
func (e *echo) ObserveSession(context.Context, SessionEvent) {}

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
