package interop

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

func TestOutbox_SendsWhatCommittedAndNothingElse(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		app := fxtest.New(t, fxtest.Use(cfg))
		if _, err := app.DB.ExecContext(t.Context(), OutboxDDL); err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		tries := map[string]int{}
		sent := make(chan string, 100)
		send := func(_ context.Context, id, _ string) error {
			mu.Lock()
			defer mu.Unlock()
			if tries[id]++; tries[id] == 1 {
				return errors.New("the receiver is away")
			}
			sent <- id
			return nil
		}
		ctx, cancel := context.WithCancel(context.Background())
		var relays sync.WaitGroup
		defer func() { cancel(); relays.Wait() }()
		first := NewOutbox(app.DB, cfg, send)
		for _, o := range []*Outbox{first, NewOutbox(app.DB, cfg, send)} {
			o.Poll = 20 * time.Millisecond
			relays.Go(func() { o.Run(ctx) })
		}
		undo := errors.New("undo")
		const messages = 20
		for i := range messages {
			err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
				if err := first.Add(ctx, tx, fmt.Sprintf("m%02d", i), "x"); err != nil || i%2 == 0 {
					return err
				}
				return undo
			})
			if err != nil && err != undo {
				t.Fatal(err)
			}
		}
		seen := map[string]bool{}
		for range messages / 2 {
			select {
			case id := <-sent:
				seen[id] = true
			case <-time.After(time.Minute):
				t.Fatalf("got %v", seen)
			}
		}
		for id := range seen {
			var n int
			if _, err := fmt.Sscanf(id, "m%d", &n); err != nil || n%2 != 0 {
				t.Errorf("%s was sent, and was rolled back", id)
			}
		}
		if len(seen) != messages/2 {
			t.Errorf("got %v", seen)
		}
	})
}

// TestOutbox_MessagesThatCannotBeSentKeepBackNoOther: two of them come first by
// every order.
func TestOutbox_MessagesThatCannotBeSentKeepBackNoOther(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		app := fxtest.New(t, fxtest.Use(cfg))
		if _, err := app.DB.ExecContext(t.Context(), OutboxDDL); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		var relay sync.WaitGroup
		defer func() { cancel(); relay.Wait() }()
		sent := make(chan string, 10)
		o := NewOutbox(app.DB, cfg, func(_ context.Context, id, payload string) error {
			if payload == "poison" {
				return errors.New("no such receiver")
			}
			sent <- id
			return nil
		})
		o.Poll = 50 * time.Millisecond
		for id, payload := range map[string]string{"a": "poison", "b": "poison", "z": "x"} {
			err := app.Sessions.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
				if err := o.Add(ctx, tx, id, payload); err != nil {
					return err
				}
				_, err := tx.ExecContext(ctx, "update outbox set due = $1 where id = $2", time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), id)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		<-o.wake
		relay.Go(func() { o.Run(ctx) })
		select {
		case <-sent:
		case <-time.After(time.Minute):
			t.Error("the others were never sent")
		}
		for tries := 0; tries < 3; {
			if err := app.DB.QueryRowContext(ctx, "select min(tries) from outbox").Scan(&tries); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestOutboxProcess is no test: it is the relay that TestOutbox_IsKilled kills.
func TestOutboxProcess(t *testing.T) {
	cfg, told := dbfx.DefaultConfig(), os.Getenv("OUTBOX_TOLD")
	if told == "" {
		t.Skip("only for TestOutbox_IsKilledBetweenSendAndDelete")
	}
	cfg.DatabaseURL = dbfx.NewSecret(os.Getenv("OUTBOX_URL"))
	db, err := dbfx.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	o := NewOutbox(db.DB(), cfg, func(_ context.Context, id, _ string) error {
		if err := os.WriteFile(told, []byte(id), 0o600); err != nil {
			return err
		}
		process, err := os.FindProcess(os.Getpid())
		if err != nil {
			return err
		}
		_ = process.Kill()
		select {} // until it is dead
	})
	o.Lease = 2 * time.Second
	o.Run(t.Context())
}

// TestOutbox_IsKilledBetweenSendAndDelete: another relay sends the message again,
// after the lease and not before.
func TestOutbox_IsKilledBetweenSendAndDelete(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		app := fxtest.New(t, fxtest.Use(cfg))
		if _, err := app.DB.ExecContext(t.Context(), OutboxDDL); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		var relay sync.WaitGroup
		defer func() { cancel(); relay.Wait() }()
		sent := make(chan string, 10)
		o := NewOutbox(app.DB, cfg, func(_ context.Context, id, _ string) error { sent <- id; return nil })
		o.Poll = 50 * time.Millisecond
		err := app.Sessions.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error { return o.Add(ctx, tx, "m1", "x") })
		if err != nil {
			t.Fatal(err)
		}
		told := filepath.Join(t.TempDir(), "told")
		victim := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestOutboxProcess$", "-test.timeout=1m")
		victim.Env = append(os.Environ(), "OUTBOX_URL="+cfg.URL(), "OUTBOX_TOLD="+told)
		if out, err := victim.CombinedOutput(); err == nil || victim.ProcessState.Exited() {
			t.Fatalf("the relay was not killed: %v\n%s", err, out)
		}
		if id, err := os.ReadFile(told); err != nil || string(id) != "m1" {
			t.Fatalf("the killed relay sent %q, %v", id, err)
		}
		relay.Go(func() { o.Run(ctx) })
		select {
		case id := <-sent:
			if id != "m1" {
				t.Errorf("got %s", id)
			}
		case <-time.After(time.Minute):
			t.Fatal("the message is lost")
		}
		cancel()
		relay.Wait()
		var left int
		if err := app.DB.QueryRowContext(t.Context(), "select count(*) from outbox").Scan(&left); err != nil || left != 0 || len(sent) > 0 {
			t.Errorf("%d messages left, %d more sent, %v", left, len(sent), err)
		}
	})
}

// TestOutbox_ARelayThatIsStoppedNotesWhatItHasDone: the context of a Send ends, and
// what it has sent is deleted all the same.
func TestOutbox_ARelayThatIsStoppedNotesWhatItHasDone(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		app := fxtest.New(t, fxtest.Use(cfg))
		if _, err := app.DB.ExecContext(t.Context(), OutboxDDL); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		o := NewOutbox(app.DB, cfg, func(ctx context.Context, _, _ string) error {
			cancel()
			<-ctx.Done()
			return nil
		})
		err := app.Sessions.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error { return o.Add(ctx, tx, "m1", "x") })
		if err != nil {
			t.Fatal(err)
		}
		o.Run(ctx)
		var left int
		if err := app.DB.QueryRowContext(t.Context(), "select count(*) from outbox").Scan(&left); err != nil || left != 0 {
			t.Errorf("%d messages left, %v", left, err)
		}
	})
}

// TestOutbox_RelaysPassEachOthersMessagesBy: one that another program has locked
// keeps back no other.
func TestOutbox_RelaysPassEachOthersMessagesBy(t *testing.T) {
	t.Parallel()
	cfg := fxtest.Postgres(t)
	app := fxtest.New(t, fxtest.Use(cfg))
	if _, err := app.DB.ExecContext(t.Context(), OutboxDDL); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var relay sync.WaitGroup
	defer func() { cancel(); relay.Wait() }()
	sent := make(chan string, 10)
	o := NewOutbox(app.DB, cfg, func(_ context.Context, id, _ string) error { sent <- id; return nil })
	running := ctx // without the session
	err := app.Sessions.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
		return errors.Join(o.Add(ctx, tx, "a", "x"), o.Add(ctx, tx, "b", "x"))
	})
	if err != nil {
		t.Fatal(err)
	}
	next := func() string {
		select {
		case id := <-sent:
			return id
		case <-time.After(time.Minute):
			return "none"
		}
	}
	err = app.Sessions.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
		if _, err := tx.ExecContext(ctx, "select from outbox where id = 'a' for update"); err != nil {
			return err
		}
		relay.Go(func() { o.Run(running) })
		if id := next(); id != "b" {
			t.Errorf("beside a locked message %s was sent", id)
		}
		return nil
	})
	if id := next(); err != nil || id != "a" {
		t.Errorf("then %s, %v", id, err)
	}
}
