package interop

import (
	"context"
	"time"

	"github.com/sergas/dbkit/dbfx"
)

// OutboxDDL is the table of an Outbox, on both engines.
const OutboxDDL = `create table if not exists outbox (id text primary key, payload text not null, claimed_until timestamp not null)`

// Outbox sends what sessions have committed, at least once and in the end. The
// row is the truth; AfterCommit is the wake-up, which a crash may lose.
type Outbox struct {
	Sessions *dbfx.Sessions
	Send     func(ctx context.Context, id, payload string) error // must bear a second time
	Lease    time.Duration                                       // longer than a Send takes
	Poll     time.Duration                                       // finds what no wake-up told
	wake     chan struct{}
}

// NewOutbox returns an Outbox that polls each second.
func NewOutbox(s *dbfx.Sessions, send func(ctx context.Context, id, payload string) error) *Outbox {
	return &Outbox{Sessions: s, Send: send, Lease: time.Minute, Poll: time.Second, wake: make(chan struct{}, 1)}
}

// Add writes a message in the caller's session: it is sent if and only if that
// commits.
func (o *Outbox) Add(ctx context.Context, tx *dbfx.Session, id, payload string) error {
	tx.AfterCommit(func(context.Context) {
		select {
		case o.wake <- struct{}{}:
		default:
		}
	})
	_, err := tx.ExecContext(ctx, `insert into outbox (id, payload, claimed_until) values ($1, $2, $3)`, id, payload, time.Now().UTC())
	return err
}

// Run relays until ctx ends. Any number of processes may run it.
func (o *Outbox) Run(ctx context.Context) {
	tick := time.NewTicker(o.Poll)
	defer tick.Stop()
	for ctx.Err() == nil {
		id, payload, err := o.claim(ctx)
		if err == nil && id != "" {
			if err = o.Send(ctx, id, payload); err == nil {
				err = o.exec(ctx, `delete from outbox where id = $1`, id)
			} else {
				_ = o.exec(ctx, `update outbox set claimed_until = $2 where id = $1`, id, time.Now().UTC().Add(o.Poll))
			}
		}
		if err == nil && id != "" {
			continue
		}
		select {
		case <-o.wake:
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// claim takes one message that nobody has. Two that claim at once do not get the
// same: the second waits for the first's row and then sees its lease.
func (o *Outbox) claim(ctx context.Context) (id, payload string, err error) {
	err = o.Sessions.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
		id, payload = "", ""
		rows, err := tx.QueryContext(ctx, `update outbox set claimed_until = $1 where claimed_until <= $2
			and id = (select min(id) from outbox where claimed_until <= $2) returning id, payload`, time.Now().UTC().Add(o.Lease), time.Now().UTC())
		if err != nil {
			return err
		}
		defer func() { _ = rows.Close() }()
		if rows.Next() {
			err = rows.Scan(&id, &payload)
		}
		return err
	}, dbfx.Name("outbox.claim"), dbfx.Retry(dbfx.RetryPolicy{}))
	return id, payload, err
}

func (o *Outbox) exec(ctx context.Context, query string, args ...any) error {
	return o.Sessions.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
		_, err := tx.ExecContext(ctx, query, args...)
		return err
	}, dbfx.Name("outbox.done"), dbfx.Retry(dbfx.RetryPolicy{}), dbfx.Idempotent())
}
