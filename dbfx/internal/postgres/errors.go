package postgres

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"slices"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sergas/dbkit/dbfx/internal/engine"
)

// Classify implements engine.Engine.
func (e *Engine) Classify(err error) engine.Fault { return Classify(err) }

// Classify says what err means, if it is PostgreSQL's.
func Classify(err error) engine.Fault {
	var dial *dialError
	if errors.As(err, &dial) {
		return dial.fault()
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return classify(pg)
	}
	if role(err) {
		return engine.Fault{Kind: engine.Lost, Class: "wrong role", Unavailable: true}
	}
	if isTLS(err) {
		return engine.Fault{Class: "tls"}
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		return engine.Fault{Kind: engine.Lost, Class: "refused", Unavailable: true}
	}
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return engine.Fault{Kind: engine.Lost, Class: "dns", Unavailable: true}
	}
	if errors.Is(err, context.DeadlineExceeded) || pgconn.Timeout(err) {
		var dial *pgconn.ConnectError // no answer of the host, and not of a statement
		return engine.Fault{Class: "timeout", Timeout: true, Unavailable: errors.As(err, &dial)}
	}
	if lost(err) {
		return engine.Fault{Kind: engine.Lost, Class: "lost", Unavailable: true}
	}
	return engine.Fault{Class: "error"}
}

// classify reads a SQLSTATE, PostgreSQL's appendix A.
func classify(pg *pgconn.PgError) engine.Fault {
	f := engine.Fault{Constraint: pg.ConstraintName, Class: "error"}
	if isStalePlan(pg) { // nothing has run, and the next try plans anew
		f.Kind, f.Class = engine.Serialization, "conflict"
		return f
	}
	switch pg.Code {
	case "23505", "23P01": // exclusion is uniqueness, generalised
		f.Kind = engine.Unique
	case "23503", "23001":
		f.Kind = engine.ForeignKey
	case "23502":
		f.Kind = engine.NotNull
		if f.Constraint == "" && pg.ColumnName != "" {
			f.Constraint = pg.TableName + "." + pg.ColumnName
		}
	case "23514":
		f.Kind = engine.Check
	case "25006":
		f.Kind, f.Class = engine.ReadOnly, "read-only"
	case "40001", "40P01":
		if severity(pg) == "ERROR" {
			f.Kind, f.Class = engine.Serialization, "conflict"
		} else { // a standby ends who reads what it must remove
			f.Kind, f.Class = engine.Lost, "lost"
		}
	case "53300":
		f.Class, f.Unavailable = "too many connections", true
	case "57P03":
		f.Class = "starting"
	case "3D000":
		f.Class = "no such database"
	case "53100":
		f.Class = "disk full"
	case "55P03":
		f.Class, f.Timeout = "busy", true
	case "57014", "25P03", "25P04": // 57014 is statement_timeout, and who asks the server to cancel
		f.Class, f.Timeout = "timeout", true
	}
	switch class := pg.Code[:min(2, len(pg.Code))]; {
	case class == "23":
		f.Class = "constraint"
	case class == "28":
		f.Class = "auth"
	case class == "08", slices.Contains(farewells, pg.Code):
		f.Kind, f.Unavailable = engine.Lost, !f.Timeout
		if f.Class == "error" {
			f.Class = "lost"
		}
	}
	return f
}

// farewells are what a server says when it ends a connection: it stops, or drops
// the database, or the connection idled, or its transaction took too long.
var farewells = []string{"57P01", "57P02", "57P03", "57P04", "57P05", "25P03", "25P04"}

// severity returns ERROR, FATAL or PANIC, whatever the server's language is.
func severity(pg *pgconn.PgError) string {
	if pg.SeverityUnlocalized == "" {
		return pg.Severity // before PostgreSQL 9.6
	}
	return pg.SeverityUnlocalized
}

// lost reports whether err says that the connection is gone.
func lost(err error) bool {
	var op *net.OpError
	return errors.Is(err, driver.ErrBadConn) || errors.Is(err, engine.ErrLostReply) || errors.Is(err, engine.ErrLost) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.As(err, &op) || pgconn.SafeToRetry(err) ||
		err != nil && strings.Contains(err.Error(), "conn closed")
}

func isTLS(err error) bool {
	var record tls.RecordHeaderError
	var verify *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	return errors.As(err, &record) || strings.Contains(err.Error(), "refused TLS") || // pgx does not export that one
		errors.As(err, &verify) || errors.As(err, &authority) || errors.As(err, &host)
}

// CommitOutcome implements engine.Engine. pgconn.SafeToRetry is no witness: pgx
// 5.12 answers true for a COMMIT that was carried out and whose reply was lost.
// Definite is only what was never sent, what the server says with severity ERROR
// or with ROLLBACK, and the end of an idle transaction: COMMIT has not come then.
func (e *Engine) CommitOutcome(err error) engine.Outcome {
	if errors.Is(err, pgx.ErrTxCommitRollback) {
		return engine.RolledBack
	}
	var unsent *notSentError
	if errors.As(err, &unsent) {
		return engine.NotCommitted
	}
	var pg *pgconn.PgError
	switch {
	case !errors.As(err, &pg), pg.Code == "40003", pg.Code == "08007":
		return engine.Unknown
	case pg.Code == "25P03", severity(pg) == "ERROR":
		return engine.NotCommitted
	}
	return engine.Unknown
}

// startError explains why the database could not be opened.
type startError struct {
	text  string
	cause error
}

func (e *startError) Error() string { return e.text }
func (e *startError) Unwrap() error { return e.cause }

// StartError implements engine.Engine.
func (e *Engine) StartError(err error) (error, bool) {
	reason, advice, later := explain(err)
	advice = strings.ReplaceAll(advice, "DATABASE_", e.opt.Prefix+"DATABASE_")
	return &startError{fmt.Sprintf("connect to PostgreSQL at %s: %s%s", e.Where(), reason, advice), err}, later
}

// explain says what went wrong in a line, what to look at, and whether the same
// try can succeed later: a server that boots refuses, then answers 57P03.
func explain(err error) (reason, advice string, later bool) {
	var dial *dialError
	var pg *pgconn.PgError
	var dns *net.DNSError
	switch {
	case errors.As(err, &dial):
		_, advice, _ = explain(dial.hosts[0].err)
		return dial.reasons(false), advice, dial.later()
	case role(err):
		return "the server is in another role", "", true
	case errors.As(err, &pg):
		reason = fmt.Sprintf("%s (SQLSTATE %s)", pg.Message, pg.Code)
		switch {
		case strings.HasPrefix(pg.Code, "28"):
			return reason, "; look at DATABASE_USER and DATABASE_PASSWORD, or DATABASE_URL", false
		case pg.Code == "3D000":
			return reason, "; create it, or look at DATABASE_NAME or DATABASE_URL", false
		case pg.Code == "53300":
			return reason, "; lower POOL_SIZE + MAX_OVERFLOW or raise the server's max_connections", true
		}
		return reason, "", pg.Code == "57P03" || pg.Code == "57P01" || pg.Code == "57P02"
	case isTLS(err):
		return innermost(err), "; look at sslmode and sslrootcert", false
	case errors.As(err, &dns):
		return "the name of the host cannot be resolved", "; look at DATABASE_HOST or DATABASE_URL", true
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused", "; is the server up? Look at DATABASE_HOST and DATABASE_PORT, or DATABASE_URL", true
	case errors.Is(err, fs.ErrNotExist):
		return "no such socket", "; is the server up? Look at DATABASE_HOST or DATABASE_URL", true
	case errors.Is(err, context.DeadlineExceeded) || pgconn.Timeout(err):
		return "no answer in time", "; look at the host, the firewall and CONNECT_TIMEOUT", true
	}
	return innermost(err), "", lost(err)
}

// innermost is the text of the last error in the chain, which names neither
// user nor database again.
func innermost(err error) string {
	for {
		next := errors.Unwrap(err)
		if list, ok := err.(interface{ Unwrap() []error }); ok && len(list.Unwrap()) > 0 {
			next = list.Unwrap()[len(list.Unwrap())-1]
		}
		if next == nil {
			return err.Error()
		}
		err = next
	}
}
