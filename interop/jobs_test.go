package interop

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	watermillsql "github.com/ThreeDotsLabs/watermill-sql/v4/pkg/sql"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/riverdriver/riverdatabasesql"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/riverqueue/river/rivermigrate"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

// greeting is a job that says which of the application's rows it belongs to.
type greeting struct {
	Row int `json:"row"`
}

// Kind implements river.JobArgs.
func (greeting) Kind() string { return "greeting" }

// greeter counts how often each row was greeted.
type greeter struct {
	river.WorkerDefaults[greeting]
	mu   sync.Mutex
	seen map[int]int
	done chan int
}

// Work implements river.Worker.
func (g *greeter) Work(_ context.Context, job *river.Job[greeting]) error {
	g.mu.Lock()
	g.seen[job.Args.Row]++
	g.mu.Unlock()
	g.done <- job.Args.Row
	return nil
}

// RiverDriver gives the handle to river.
func RiverDriver(db *sql.DB, cfg dbfx.Config) riverdriver.Driver[*sql.Tx] {
	if cfg.Dialect() == dbfx.Postgres {
		return riverdatabasesql.New(db)
	}
	return riversqlite.New(db)
}

// PublishIn publishes in a session: the messages exist if and only if it commits.
func PublishIn(tx *dbfx.Session, topic string, messages ...*message.Message) error {
	config := watermillsql.PublisherConfig{SchemaAdapter: watermillsql.DefaultPostgreSQLSchema{}}
	publisher, err := watermillsql.NewPublisher(watermillsql.TxFromStdSQL(tx.SQLTx()), config, nil)
	if err != nil {
		return err
	}
	return publisher.Publish(topic, messages...)
}

// TestRiver_JobRunsIfAndOnlyIfTheSessionCommits has sessions that insert a row and
// its job, and another job in a nested session; every third rolls back. Writers and workers run at the same time, on
// SQLite too, for which river advises a single connection.
func TestRiver_JobRunsIfAndOnlyIfTheSessionCommits(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		app := fxtest.New(t, fxtest.Use(cfg))
		driver := RiverDriver(app.DB, cfg)
		migrator, err := rivermigrate.New(driver, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := migrator.Migrate(t.Context(), rivermigrate.DirectionUp, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := app.DB.ExecContext(t.Context(), "create table greeted (id integer primary key)"); err != nil {
			t.Fatal(err)
		}
		const writers, each, nested = 4, 30, 1000 // the jobs of nested sessions have numbers of their own
		worker := &greeter{seen: map[int]int{}, done: make(chan int, 2*writers*each)}
		workers := river.NewWorkers()
		river.AddWorker(workers, worker)
		client, err := river.NewClient(driver, &river.Config{
			Queues: map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 4}}, Workers: workers,
			FetchCooldown: 5 * time.Millisecond, FetchPollInterval: 20 * time.Millisecond,
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := client.Start(context.Background()); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := client.Stop(context.Background()); err != nil {
				t.Error(err)
			}
		}()

		undo := errors.New("undo")
		committed := sync.Map{}
		var count atomic.Int64
		var wg sync.WaitGroup
		start := time.Now()
		for w := range writers {
			wg.Go(func() {
				for i := range each {
					row := w*each + i
					err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
						if _, err := tx.ExecContext(ctx, "insert into greeted values ($1)", row); err != nil {
							return err
						}
						if _, err := client.InsertTx(ctx, tx.SQLTx(), greeting{row}, nil); err != nil {
							return err
						}
						if row%3 == 0 {
							return undo
						}
						// A nested session that is undone takes its job with it.
						err := app.Sessions.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
							if _, err := client.InsertTx(ctx, tx.SQLTx(), greeting{-1}, nil); err != nil {
								return err
							}
							return undo
						})
						if err != undo {
							return err
						}
						return app.Sessions.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
							_, err := client.InsertTx(ctx, tx.SQLTx(), greeting{row + nested}, nil)
							return err
						})
					})
					switch {
					case err == nil:
						committed.Store(row, true)
						count.Add(1)
					case err != undo:
						t.Errorf("row %d: %v", row, err)
					}
				}
			})
		}
		wg.Wait()
		timeout := time.After(time.Minute)
		for n := int64(0); n < 2*count.Load(); n++ {
			select {
			case row := <-worker.done:
				if _, ok := committed.Load(row % nested); !ok {
					t.Errorf("the job of row %d ran, and the row was rolled back", row)
				}
			case <-timeout:
				t.Fatalf("%d of %d jobs have run", n, 2*count.Load())
			}
		}
		if count.Load() != writers*each*2/3 {
			t.Errorf("%d sessions committed", count.Load())
		}
		t.Logf("%d jobs with their rows in %s", 2*count.Load(), time.Since(start).Round(time.Millisecond))
		worker.mu.Lock()
		defer worker.mu.Unlock()
		for row, n := range worker.seen {
			if n != 1 {
				t.Errorf("row %d was greeted %d times", row, n)
			}
		}
	})
}

// TestWatermill_PublishesInASession: a message exists if and only if the session
// committed. watermill-sql has PostgreSQL and no SQLite.
func TestWatermill_PublishesInASession(t *testing.T) {
	t.Parallel()
	app := fxtest.New(t, fxtest.Use(fxtest.Postgres(t)))
	adapter := watermillsql.DefaultPostgreSQLSchema{}
	offsets := watermillsql.DefaultPostgreSQLOffsetsAdapter{}
	subscriber, err := watermillsql.NewSubscriber(watermillsql.BeginnerFromStdSQL(app.DB), watermillsql.SubscriberConfig{
		SchemaAdapter: adapter, OffsetsAdapter: offsets, InitializeSchema: true, PollInterval: 5 * time.Millisecond,
	}, watermill.NopLogger{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = subscriber.Close() }()
	messages, err := subscriber.Subscribe(context.Background(), "orders")
	if err != nil {
		t.Fatal(err)
	}
	undo := errors.New("undo")
	for i, end := range []error{undo, nil, undo, nil} {
		// The last two in a session around them, that commits.
		nest := func(fn func(ctx context.Context) error) error { return fn(t.Context()) }
		if i > 1 {
			nest = func(fn func(ctx context.Context) error) (inner error) {
				err := app.Sessions.Run(t.Context(), func(ctx context.Context, _ *dbfx.Session) error {
					inner = fn(ctx)
					return nil
				})
				if err != nil {
					t.Error(err)
				}
				return inner
			}
		}
		err := nest(func(ctx context.Context) error {
			return app.Sessions.Run(ctx, func(_ context.Context, tx *dbfx.Session) error {
				if err := PublishIn(tx, "orders", message.NewMessage(watermill.NewUUID(), []byte(fmt.Sprintf(`{"order": %d}`, i)))); err != nil {
					return err
				}
				return end
			})
		})
		if err != end {
			t.Fatalf("message %d: %v", i, err)
		}
	}
	for _, want := range []string{`{"order": 1}`, `{"order": 3}`} {
		select {
		case m := <-messages:
			if string(m.Payload) != want {
				t.Errorf("got %s, want %s", m.Payload, want)
			}
			m.Ack()
		case <-time.After(time.Minute):
			t.Fatalf("no %s", want)
		}
	}
}
