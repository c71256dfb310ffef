package store

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/example/app/tokens"
)

// Outbox reads what Tokens.Publish wrote.
type Outbox struct {
	sessions *dbfx.Sessions
	pass     string // the events that another instance has locked
}

// NewOutbox returns the outbox of the default database.
func NewOutbox(sessions *dbfx.Sessions, cfg dbfx.Config) *Outbox {
	if cfg.Dialect() == dbfx.Postgres {
		return &Outbox{sessions, "for update skip locked"}
	}
	return &Outbox{sessions, ""} // SQLite lets one write at a time
}

// Claim returns events that nobody else has claimed, the oldest first, and keeps
// them from others for lease. Instances that claim at once pass each other's events
// by: one that waited for the other's, in an order of its own, would meet it in a
// deadlock.
func (o *Outbox) Claim(ctx context.Context, limit int, lease time.Duration) ([]tokens.Event, error) {
	now := time.Now().UTC().Truncate(time.Microsecond)
	return dbfx.RunValue(ctx, o.sessions, func(ctx context.Context, tx *dbfx.Session) ([]tokens.Event, error) {
		rows, err := tx.QueryContext(ctx, `update outbox set claimed_until = $1
			where id in (select id from outbox where claimed_until <= $2 order by id limit $3 `+o.pass+`) and claimed_until <= $2
			returning id, kind, token_id, request_id, created_at`, now.Add(lease), now, limit)
		if err != nil {
			return nil, err
		}
		defer func() { _ = rows.Close() }()
		var events []tokens.Event
		for rows.Next() {
			var e tokens.Event
			if err := rows.Scan(&e.ID, &e.Kind, &e.TokenID, &e.RequestID, &e.CreatedAt); err != nil {
				return nil, err
			}
			events = append(events, e)
		}
		slices.SortFunc(events, func(a, b tokens.Event) int { return strings.Compare(a.ID, b.ID) }) // returning has no order
		return events, rows.Err()
	}, dbfx.Name("outbox.claim"), dbfx.Retry(dbfx.RetryPolicy{}))
}

// Done deletes events that are told.
func (o *Outbox) Done(ctx context.Context, events []tokens.Event) error {
	return o.sessions.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
		for _, e := range events {
			if _, err := tx.ExecContext(ctx, `delete from outbox where id = $1`, e.ID); err != nil {
				return err
			}
		}
		return nil
	}, dbfx.Name("outbox.done"), dbfx.Retry(dbfx.RetryPolicy{}), dbfx.Idempotent())
}

// Forget deletes what Idempotency-Keys have made before a time.
func (o *Outbox) Forget(ctx context.Context, before time.Time) error {
	return o.sessions.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
		_, err := tx.ExecContext(ctx, `delete from creations where created_at < $1`, before.UTC())
		return err
	}, dbfx.Name("creations.forget"), dbfx.Retry(dbfx.RetryPolicy{}), dbfx.Idempotent())
}

// Audit is the audit trail, in the database named audit.
type Audit struct{ sessions *dbfx.Sessions }

// NewAudit returns the trail.
func NewAudit(sessions *dbfx.Sessions) *Audit { return &Audit{sessions} }

// Add adds events that are not there yet.
func (a *Audit) Add(ctx context.Context, events []tokens.Event) error {
	return a.sessions.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
		for _, e := range events {
			_, err := tx.ExecContext(ctx, `insert into audit (id, kind, token_id, request_id, created_at)
				values ($1, $2, $3, $4, $5) on conflict (id) do nothing`, e.ID, e.Kind, e.TokenID, e.RequestID, e.CreatedAt)
			if err != nil {
				return err
			}
		}
		return nil
	}, dbfx.Name("audit.add"), dbfx.Retry(dbfx.RetryPolicy{}), dbfx.Idempotent())
}

// List returns the events of a token, the oldest first.
func (a *Audit) List(ctx context.Context, tokenID string) ([]tokens.Event, error) {
	return dbfx.ViewValue(ctx, a.sessions, func(ctx context.Context, tx *dbfx.Session) ([]tokens.Event, error) {
		rows, err := tx.QueryContext(ctx, `select id, kind, token_id, request_id, created_at from audit where token_id = $1 order by created_at, id`, tokenID)
		if err != nil {
			return nil, err
		}
		defer func() { _ = rows.Close() }()
		events := []tokens.Event{}
		for rows.Next() {
			var e tokens.Event
			if err := rows.Scan(&e.ID, &e.Kind, &e.TokenID, &e.RequestID, &e.CreatedAt); err != nil {
				return nil, err
			}
			events = append(events, e)
		}
		return events, rows.Err()
	}, dbfx.Name("audit.list"))
}
