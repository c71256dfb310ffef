package interop

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sergas/dbkit/dbfx"
)

// CopyPeople loads rows by COPY, in the session: they commit with it.
func CopyPeople(ctx context.Context, tx *dbfx.Session, people []Person) error {
	return tx.Raw(func(driverConn any) error {
		conn := driverConn.(interface{ Conn() *pgx.Conn }).Conn()
		_, err := conn.CopyFrom(ctx, pgx.Identifier{"people"}, []string{"id", "name"},
			pgx.CopyFromSlice(len(people), func(i int) ([]any, error) { return []any{people[i].ID, people[i].Name}, nil }))
		return err
	})
}

// Listen calls heard for each notification on channel until ctx ends, and with ""
// after each connect: what was told while nobody listened is lost, so look then.
// It has a connection of its own, because one of the pool would go on listening
// for whoever gets it next.
func Listen(ctx context.Context, cfg dbfx.Config, channel string, heard func(payload string)) {
	for ctx.Err() == nil {
		_ = listen(ctx, cfg, channel, heard) // an error is a line that was lost
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
	}
}

func listen(ctx context.Context, cfg dbfx.Config, channel string, heard func(payload string)) error {
	conn, err := pgx.Connect(ctx, cfg.URL())
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if _, err := conn.Exec(ctx, "listen "+pgx.Identifier{channel}.Sanitize()); err != nil {
		return err
	}
	heard("")
	for {
		quiet, cancel := context.WithTimeout(ctx, 30*time.Second)
		n, err := conn.WaitForNotification(quiet)
		cancel()
		switch {
		case err == nil:
			heard(n.Payload)
		case ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded):
			return err
		default: // a server that has vanished says nothing either
			ping, cancel := context.WithTimeout(ctx, 5*time.Second)
			err = conn.Ping(ping)
			cancel()
			if err != nil {
				return err
			}
		}
	}
}
