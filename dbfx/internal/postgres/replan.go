package postgres

import (
	"context"
	"errors"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"
)

// replan prepares for query, which gave err, to be sent once more, and reports whether
// it is to be: a change of the schema has made what is kept of it useless, and
// nothing has run.
//
// pgx and the server keep the plan of a statement on each connection, and behind a
// pooler pgx keeps the types of its columns and arguments. Each connection meets a
// change of the schema at its next use of the statement. A session's first statement
// is sent again with a new BEGIN, as the transaction holds nothing. A later one is
// told to the caller: what ran before it would be lost.
//
// The session's connection loses all its plans, and the other connections are replaced:
// theirs may be met in the middle of a session.
func (c *conn) replan(ctx context.Context, query string, err error) bool {
	if err == nil || ctx.Err() != nil || !c.witness.outdated(err) {
		return false
	}
	raw := c.stdConn.Conn()
	status := raw.PgConn().TxStatus()
	switch r := c.ride; {
	case !c.bound && status == 'I':
		if raw.Deallocate(ctx, query) != nil { // pgx forgets by itself what no one has prepared
			return false
		}
	case r != nil && status == 'E':
		begin, err := c.begin(r.opts)
		if err != nil {
			return false
		}
		c.witness.end() // this ROLLBACK is not a statement's
		_, err = raw.Exec(ctx, "rollback")
		if err == nil {
			err = raw.DeallocateAll(ctx)
		}
		c.witness.begin()
		if err != nil {
			return false
		}
		c.wire.arm(begin)
	default:
		return false
	}
	if !c.stale() {
		c.connector.expire()
	}
	return true
}

// outdated reports whether err may be of a plan that a change of the schema has made
// useless, and nothing of the session's transaction has run, or nothing of a statement
// outside of one.
func (w *witness) outdated(err error) bool {
	if !isStalePlan(err) && !isMistyped(err) {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.ran && (isStalePlan(err) || !w.described)
}

// isStalePlan reports whether err says that the columns of a statement are no longer
// those that were told of it before.
func isStalePlan(err error) bool {
	if err == nil {
		return false // without the allocation below
	}
	var pg *pgconn.PgError
	return errors.As(err, &pg) && (pg.Code == "0A000" && pg.Routine == "RevalidateCachedQuery" ||
		pg.Code == "08P01" && pg.Routine == "PortalSetResultFormat")
}

// isMistyped reports whether err says that there is no such operator, function or cast
// for the types of the arguments. They may be those of before a change.
func isMistyped(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && slices.Contains([]string{"42883", "42804", "42846"}, pg.Code)
}
