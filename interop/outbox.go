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
	DB    *sql.DB
	Send  func(ctx context.Context, id, payload string) error // must bear a second time
	Lease time.Duration                                       // bounds a Send; who dies with a message keeps it so long
	Poll  time.Duration                                       // finds what no wake-up told; the first wait after a failure
	claim string
	wake  chan struct{}
}

// NewOutbox returns an Outbox that polls each second. On PostgreSQL relays pass
// each other's messages by; on SQLite only one statement writes at a time.
func NewOutbox(db *sql.DB, cfg dbfx.Config, send func(ctx context.Context, id, payload string) error) *Outbox {
	pass := map[dbfx.Dialect]string{dbfx.Postgres: "for update skip locked"}[cfg.Dialect()]
	return &Outbox{DB: db, Send: send, Lease: time.Minute, Poll: time.Second, wake: make(chan struct{}, 1),
		claim: `update outbox set due = $1, tries = tries + 1 where due <= $2 and id =
			(select id from outbox where due <= $2 order by due, id limit 1 ` + pass + `) returning id, payload, tries`}
}

// Add writes a message in the caller's session: it is sent if and only if that
// commits.
func (o *Outbox) Add(ctx context.Context, tx *dbfx.Session, id, payload string) error {
	tx.AfterCommit(func(context.Context) {
		select {
		case o.wake <- struct{}{}:
		default: // it is awake
		}
	})
	_, err := tx.ExecContext(ctx, `insert into outbox (id, payload, due) values ($1, $2, $3)`, id, payload, time.Now().UTC())
	return err
}

// Run relays until ctx ends. Any number of processes may run it.
func (o *Outbox) Run(ctx context.Context) {
	for ctx.Err() == nil {
		if sent, err := o.one(ctx); sent && err == nil { // an error, of Send or of the database, is for your log
			continue
		}
		select {
		case <-o.wake:
		case <-time.After(o.Poll):
		case <-ctx.Done():
		}
	}
}

// one sends the message that has been due for the longest time. One that cannot be
// sent is due again later and later, up to an hour, and so keeps back no other.
func (o *Outbox) one(ctx context.Context) (sent bool, err error) {
	sending, cancel := context.WithTimeout(ctx, o.Lease)
	defer cancel()
	var id, payload string
	var tries int
	now := time.Now().UTC()
	err = o.DB.QueryRowContext(sending, o.claim, now.Add(o.Lease), now).Scan(&id, &payload, &tries)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	failure := o.Send(sending, id, payload)
	noting, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second) // also by a relay that is stopped
	defer cancel()
	if failure == nil {
		_, err = o.DB.ExecContext(noting, `delete from outbox where id = $1`, id)
		return true, err
	}
	wait := min(o.Poll<<min(tries-1, 20), time.Hour)
	_, err = o.DB.ExecContext(noting, `update outbox set due = $2 where id = $1`, id, time.Now().UTC().Add(wait))
	return false, errors.Join(failure, err)
}
