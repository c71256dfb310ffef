package interop

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"testing/fstest"

	"ariga.io/atlas/sql/schema"
	"github.com/DATA-DOG/go-sqlmock"
	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/XSAM/otelsql"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivermigrate"
	"go.uber.org/fx"

	"github.com/sergas/dbkit/dbfx"
)

func Example_jet() {
	ctx := context.Background()
	db := open(ctx)
	defer func() { _ = db.Close(ctx) }()
	err := db.Sessions().Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
		return AddByJet(ctx, tx, db.Config(), Person{1, "Ada"})
	})
	fmt.Println(err)
	fmt.Println(ListByJet(ctx, db.DB(), db.Config()))
	// Output:
	// <nil>
	// [{1 Ada}] <nil>
}

func Example_bun() {
	ctx := context.Background()
	db := open(ctx)
	defer func() { _ = db.Close(ctx) }()
	bundb := NewBun(db.DB(), db.Config())
	err := db.Sessions().Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
		_, err := bundb.NewInsert().Model(&Person{1, "Ada"}).ModelTableExpr("people").Conn(tx).Exec(ctx)
		return err
	})
	fmt.Println(err)
	var list []Person
	err = bundb.NewSelect().Model(&list).ModelTableExpr("people AS person").Scan(ctx)
	fmt.Println(list, err)
	// Output:
	// <nil>
	// [{1 Ada}] <nil>
}

func Example_goose() {
	ctx := context.Background()
	db := open(ctx)
	defer func() { _ = db.Close(ctx) }()
	files := fstest.MapFS{"001_pets.sql": {Data: []byte("-- +goose Up\ncreate table pets (id integer primary key);")}}
	fmt.Println(GooseUp(ctx, db.DB(), db.Config(), files))
	_, err := db.DB().ExecContext(ctx, "insert into pets values (1)")
	fmt.Println(err)
	// Output:
	// <nil>
	// <nil>
}

// A file, because golang-migrate has a handle of its own.
func Example_golangMigrate() {
	ctx := context.Background()
	cfg, remove := inFile()
	defer remove()
	db := openAt(ctx, cfg)
	defer func() { _ = db.Close(ctx) }()
	files := fstest.MapFS{"1_pets.up.sql": {Data: []byte("create table pets (id integer primary key);")}}
	fmt.Println(MigrateUp(ctx, db.Config(), files))
	_, err := db.DB().ExecContext(ctx, "insert into pets values (1)")
	fmt.Println(err)
	// Output:
	// <nil>
	// <nil>
}

func Example_atlas() {
	ctx := context.Background()
	db := open(ctx)
	defer func() { _ = db.Close(ctx) }()
	id := schema.NewIntColumn("id", "integer")
	pets := schema.NewTable("pets").AddColumns(id).SetPrimaryKey(schema.NewPrimaryKey(id))
	fmt.Println(AtlasApply(ctx, db.Sessions(), db.Config(), schema.New("").AddTables(pets)))
	_, err := db.DB().ExecContext(ctx, "insert into pets values (1)")
	fmt.Println(err)
	// Output:
	// <nil>
	// <nil>
}

// hello is a job, and told is where its worker says that it ran.
type hello struct {
	Name string `json:"name"`
}

func (hello) Kind() string { return "hello" }

type greets struct {
	river.WorkerDefaults[hello]
	told chan string
}

func (w greets) Work(_ context.Context, job *river.Job[hello]) error {
	w.told <- job.Args.Name
	return nil
}

func Example_river() {
	ctx := context.Background()
	cfg, remove := inFile()
	defer remove()
	db := openAt(ctx, cfg)
	defer func() { _ = db.Close(ctx) }()
	riverDriver := RiverDriver(db.DB(), db.Config())
	migrator, err := rivermigrate.New(riverDriver, nil)
	if err != nil {
		panic(err)
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		panic(err)
	}
	workers, told := river.NewWorkers(), make(chan string)
	river.AddWorker(workers, greets{told: told})
	client, err := river.NewClient(riverDriver, &river.Config{
		Queues: map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 4}}, Workers: workers,
	})
	if err != nil {
		panic(err)
	}
	if err := client.Start(ctx); err != nil {
		panic(err)
	}
	defer func() { _ = client.Stop(ctx) }()
	err = db.Sessions().Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
		if err := AddBySquirrel(ctx, tx, Person{1, "Ada"}); err != nil {
			return err
		}
		_, err := client.InsertTx(ctx, tx.SQLTx(), hello{"Ada"}, nil)
		return err
	})
	fmt.Println(err)
	fmt.Println("hello", <-told)
	// Output:
	// <nil>
	// hello Ada
}

// It has PostgreSQL alone.
func Example_watermill() {
	ctx := context.Background()
	db, err := dbfx.Open(ctx, dbfx.DefaultConfig())
	if err != nil {
		panic(err)
	}
	defer func() { _ = db.Close(ctx) }()
	err = db.Sessions().Run(ctx, func(_ context.Context, tx *dbfx.Session) error {
		return PublishIn(tx, "orders", message.NewMessage(watermill.NewUUID(), []byte(`{"order": 1}`)))
	})
	fmt.Println(err)
}

// It has PostgreSQL alone.
func ExampleCopyPeople() {
	ctx := context.Background()
	db, err := dbfx.Open(ctx, dbfx.DefaultConfig())
	if err != nil {
		panic(err)
	}
	defer func() { _ = db.Close(ctx) }()
	err = db.Sessions().Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
		return CopyPeople(ctx, tx, []Person{{1, "Ada"}, {2, "Bob"}})
	})
	fmt.Println(err)
}

// It has PostgreSQL alone.
func ExampleListen() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	Listen(ctx, dbfx.DefaultConfig(), "orders", func(payload string) {
		if payload == "" { // just connected: look at the table
			return
		}
		fmt.Println("order", payload)
		cancel()
	})
}

func Example_otelsql() {
	opener := dbfx.Opener(func(_ dbfx.HandleInfo, c driver.Connector) *sql.DB { return otelsql.OpenDB(c) })
	app := fx.New(
		fx.NopLogger, dbfx.Module, fx.Replace(inMemory()),
		fx.Supply(opener),
		fx.Invoke(func(lc fx.Lifecycle, s *dbfx.Sessions) {
			lc.Append(fx.StartHook(func(ctx context.Context) error {
				return s.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
					_, err := tx.ExecContext(ctx, ddl)
					return err
				})
			}))
		}),
	)
	ctx := context.Background()
	fmt.Println(app.Start(ctx), app.Stop(ctx))
	// Output:
	// <nil> <nil>
}

func Example_sqlmock() {
	db, mock, err := sqlmock.New()
	if err != nil {
		panic(err)
	}
	defer func() { _ = db.Close() }()
	mock.ExpectExec("INSERT INTO people").WillReturnResult(sqlmock.NewResult(1, 1))
	app := fx.New(
		fx.NopLogger, dbfx.Module, fx.Replace(db),
		fx.Invoke(func(lc fx.Lifecycle, db *sql.DB) {
			lc.Append(fx.StartHook(func(ctx context.Context) error { return AddBySquirrel(ctx, db, Person{1, "Ada"}) }))
		}),
	)
	ctx := context.Background()
	fmt.Println(app.Start(ctx), app.Stop(ctx), mock.ExpectationsWereMet())
	// Output:
	// <nil> <nil> <nil>
}
