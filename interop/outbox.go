package interop

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/sergas/dbkit/dbfx"
)

// OutboxDDL is the table of an Outbox, on both engines. A message of many tries
// is one that the receiver does not take.
const OutboxDDL = `create table if not exists outbox (id text primary key, payload text not null,
	tries integer not null default 0, due timestamp not null);
create index if not exists outbox_due on outbox (due, id);`

// Outbox sends what sessions have committed, at least once and in the end, in no
// certain order. The row is the truth; AfterCommit is the wake-up, which a crash
// may lose.
type Outbox struct {
	Sessions *dbfx.Sessions
	Send     func(ctx context.Context, id, payload string) error // must bear a second time
	Lease    time.Duration                                       // bounds a Send; who dies with a message keeps it so long
	Poll     time.Duration                                       // finds what no wake-up told; the first wait after a failure
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
	_, err := tx.ExecContext(ctx, `insert into outbox (id, payload, due) values ($1, $2, $3)`, id, payload, time.Now().UTC())
	return err
}

// Run relays until ctx ends. Any number of processes may run it.
func (o *Outbox) Run(ctx context.Context) {
	tick := time.NewTicker(o.Poll)
	defer tick.Stop()
	for ctx.Err() == nil {
		sent, err := o.one(ctx)
		if err == nil && sent {
			continue
		}
		// An error, of Send or of the database, is for your log.
		select {
		case <-o.wake:
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// one sends the message that has been due for the longest time. One that cannot be
// sent is due again later and later, up to an hour, and so keeps back no other.
func (o *Outbox) one(ctx context.Context) (sent bool, err error) {
	id, payload, tries, err := o.claim(ctx)
	if err != nil || tries == 0 {
		return false, err
	}
	sending, cancel := context.WithTimeout(ctx, o.Lease)
	failure := o.Send(sending, id, payload)
	cancel()
	ctx = context.WithoutCancel(ctx) // a relay that is stopped still notes what it has done
	if failure == nil {
		return true, o.exec(ctx, `delete from outbox where id = $1`, id)
	}
	wait := min(o.Poll<<min(tries-1, 20), time.Hour)
	return false, errors.Join(failure, o.exec(ctx, `update outbox set due = $2 where id = $1`, id, time.Now().UTC().Add(wait)))
}

// claim takes one message that nobody has. Two that claim at once do not get the
// same: the second waits for the first's row, sees its lease, and gets none.
func (o *Outbox) claim(ctx context.Context) (id, payload string, tries int, err error) {
	err = o.Sessions.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
		now := time.Now().UTC()
		err := tx.QueryRowContext(ctx, `update outbox set due = $1, tries = tries + 1 where due <= $2
			and id = (select id from outbox where due <= $2 order by due, id limit 1) returning id, payload, tries`,
			now.Add(o.Lease), now).Scan(&id, &payload, &tries)
		if errors.Is(err, sql.ErrNoRows) {
			tries, err = 0, nil
		}
		return err
	}, dbfx.Name("outbox.claim"), dbfx.Retry(dbfx.RetryPolicy{}))
	return id, payload, tries, err
}

func (o *Outbox) exec(ctx context.Context, query string, args ...any) error {
	return o.Sessions.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
		_, err := tx.ExecContext(ctx, query, args...)
		return err
	}, dbfx.Name("outbox.done"), dbfx.Timeout(10*time.Second), dbfx.Retry(dbfx.RetryPolicy{}), dbfx.Idempotent())
}
