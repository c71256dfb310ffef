package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"strings"

	"modernc.org/sqlite"

	"github.com/sergas/dbkit/dbfx/internal/engine"
)

// SQLite's result codes, https://www.sqlite.org/rescode.html.
const (
	codeBusy      = 5
	codeLocked    = 6
	codeNoMem     = 7
	codeReadOnly  = 8
	codeInterrupt = 9
	codeIOErr     = 10
	codeCorrupt   = 11
	codeFull      = 13
	codeCantOpen  = 14
	codeNotADB    = 26

	codeCheck      = 275
	codeForeignKey = 787
	codeNotNull    = 1299
	codePrimaryKey = 1555
	codeTrigger    = 1811
	codeUnique     = 2067
	codeRowID      = 2579
)

// code returns the extended result code of err, 0 where it is not SQLite's.
func code(err error) int {
	var s *sqlite.Error
	if errors.As(err, &s) {
		return s.Code()
	}
	return 0
}

func primary(err error) int { return code(err) & 0xff }

// Classify implements engine.Engine.
func (e *Engine) Classify(err error) engine.Fault { return Classify(err) }

// Classify says what err means, if it is SQLite's.
func Classify(err error) engine.Fault {
	var locked *engine.LockedError
	switch {
	case errors.As(err, &locked):
		return engine.Fault{Kind: engine.Serialization, Class: "busy", Timeout: true}
	case errors.Is(err, driver.ErrBadConn):
		return engine.Fault{Kind: engine.Lost, Class: "lost", Unavailable: true}
	case errors.Is(err, context.DeadlineExceeded):
		return engine.Fault{Class: "timeout", Timeout: true}
	}
	return classify(code(err), err)
}

func classify(code int, err error) engine.Fault {
	switch code {
	case codeUnique, codePrimaryKey, codeRowID:
		return engine.Fault{Kind: engine.Unique, Constraint: columns(err), Class: "constraint"}
	case codeForeignKey:
		return engine.Fault{Kind: engine.ForeignKey, Class: "constraint"} // SQLite does not say which
	case codeNotNull:
		return engine.Fault{Kind: engine.NotNull, Constraint: columns(err), Class: "constraint"}
	case codeCheck:
		return engine.Fault{Kind: engine.Check, Constraint: columns(err), Class: "constraint"}
	}
	switch code & 0xff {
	case codeBusy, codeLocked:
		return engine.Fault{Kind: engine.Serialization, Class: "busy", Timeout: true}
	case codeCantOpen:
		return engine.Fault{Class: "cannot open", Unavailable: true}
	case codeFull:
		return engine.Fault{Class: "disk full"}
	case codeReadOnly:
		return engine.Fault{Kind: engine.ReadOnly, Class: "read-only"}
	case codeIOErr:
		return engine.Fault{Class: "i/o"}
	case codeCorrupt, codeNotADB:
		return engine.Fault{Class: "damaged"}
	}
	return engine.Fault{Class: "error"}
}

// columns returns what stands behind "constraint failed: ", the columns or the
// name of a check, without the code that the driver adds.
func columns(err error) string {
	var s *sqlite.Error
	if !errors.As(err, &s) {
		return ""
	}
	const marker = "constraint failed: "
	text := s.Error()
	i := strings.LastIndex(text, marker)
	if i < 0 {
		return ""
	}
	text = text[i+len(marker):]
	if j := strings.LastIndex(text, " ("); j >= 0 {
		text = text[:j]
	}
	return text
}

// CommitOutcome implements engine.Engine.
func (e *Engine) CommitOutcome(err error) engine.Outcome { return CommitOutcome(err) }

// CommitOutcome says what a failed COMMIT left. The driver rolls back what it could
// not commit; only after a failed write to the disk is it open what a restart
// would find: after a failed fsync the log may hold the whole commit.
func CommitOutcome(err error) engine.Outcome {
	var ended *engine.EndedError
	if errors.As(err, &ended) {
		return engine.RolledBack
	}
	switch primary(err) {
	case codeIOErr, codeNoMem, codeCorrupt:
		return engine.Unknown
	}
	if errors.Is(err, driver.ErrBadConn) {
		return engine.Unknown
	}
	return engine.NotCommitted
}
