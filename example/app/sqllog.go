package main

import (
	"cmp"
	"context"

	"go.uber.org/zap"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/example/app/requestid"
)

// sqlLog logs what failed in the databases, and at the level debug all that ran,
// each with the request that wanted it.
type sqlLog struct{ log *zap.Logger }

func newSQLLog(log *zap.Logger) *sqlLog { return &sqlLog{log} }

// ObserveStatement implements dbfx.Observer.
func (l *sqlLog) ObserveStatement(ctx context.Context, e dbfx.StatementEvent) {
	if ce := l.log.Check(zap.DebugLevel, "statement"); ce != nil {
		ce.Write(zap.String("request_id", requestid.From(ctx)), zap.String("database", cmp.Or(e.Database, "default")),
			zap.String("sql", e.SQL), zap.Duration("duration", e.Duration), failure(e.Err))
	}
}

// ObserveSession implements dbfx.Observer.
func (l *sqlLog) ObserveSession(ctx context.Context, e dbfx.SessionEvent) {
	level := zap.DebugLevel
	if e.Err != nil || e.Attempts > 1 {
		level = zap.WarnLevel
	}
	if ce := l.log.Check(level, "session"); ce != nil {
		ce.Write(zap.String("request_id", requestid.From(ctx)), zap.String("database", cmp.Or(e.Database, "default")), zap.String("session", e.Name),
			zap.String("outcome", string(e.Outcome)), zap.Int("attempts", e.Attempts), zap.Duration("wait", e.Wait),
			zap.Duration("duration", e.Duration), failure(e.Err))
	}
}

// failure is the text alone: an error as such would bring a PgError's detail,
// which holds values of the row.
func failure(err error) zap.Field {
	if err == nil {
		return zap.Skip()
	}
	return zap.String("error", err.Error())
}
