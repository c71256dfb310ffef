package interop

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/interop/people"
)

// inMemory stands for the environment.
func inMemory() dbfx.Config {
	cfg := dbfx.DefaultConfig()
	cfg.SQLitePath = ":memory:"
	return cfg
}

// open gives each example an empty database with the table people.
func open(ctx context.Context) *dbfx.Database { return openAt(ctx, inMemory()) }

func openAt(ctx context.Context, cfg dbfx.Config) *dbfx.Database {
	db, err := dbfx.Open(ctx, cfg)
	if err != nil {
		panic(err)
	}
	if _, err := db.DB().ExecContext(ctx, ddl); err != nil {
		panic(err)
	}
	return db
}

// inFile is for those that need more than one connection.
func inFile() (cfg dbfx.Config, remove func()) {
	dir, err := os.MkdirTemp("", "dbfx-example-")
	if err != nil {
		panic(err)
	}
	cfg = dbfx.DefaultConfig()
	cfg.SQLitePath = filepath.Join(dir, "app.db")
	return cfg, func() { _ = os.RemoveAll(dir) }
}

func Example_sqlc() {
	ctx := context.Background()
	db := open(ctx)
	defer func() { _ = db.Close(ctx) }()
	err := db.Sessions().Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
		queries := people.New(tx)
		if err := queries.AddPerson(ctx, people.AddPersonParams{ID: 1, Name: "Ada"}); err != nil {
			return err
		}
		list, err := queries.ListPeople(ctx)
		fmt.Println(list)
		return err
	})
	fmt.Println(err)
	// Output:
	// [{1 Ada}]
	// <nil>
}

// A failed statement dooms its scope. To try and go on, nest a Run.
func Example_squirrelAndScany() {
	ctx := context.Background()
	db := open(ctx)
	defer func() { _ = db.Close(ctx) }()
	err := db.Sessions().Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
		if err := AddBySquirrel(ctx, tx, Person{1, "Ada"}); err != nil {
			return err
		}
		err := db.Sessions().Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
			return AddBySquirrel(ctx, tx, Person{1, "Bob"})
		})
		fmt.Println("taken:", dbfx.IsUniqueViolation(err))
		list, err := ListBySquirrel(ctx, tx)
		fmt.Println(list)
		return err
	})
	fmt.Println(err)
	// Output:
	// taken: true
	// [{1 Ada}]
	// <nil>
}

func Example_sqlx() {
	ctx := context.Background()
	db := open(ctx)
	defer func() { _ = db.Close(ctx) }()
	err := db.Sessions().Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
		return AddBySqlx(ctx, tx, Person{1, "Ada"})
	})
	fmt.Println(err)
	fmt.Println(ListBySqlx(ctx, db.DB()))
	// Output:
	// <nil>
	// [{1 Ada}] <nil>
}

func ExampleBunIn() {
	ctx := context.Background()
	db := open(ctx)
	defer func() { _ = db.Close(ctx) }()
	bundb := NewBun(db.DB(), db.Config())
	err := db.Sessions().Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
		repository := BunIn{bundb, tx} // a bun.IDB
		_, err := repository.NewInsert().Model(&Person{1, "Ada"}).ModelTableExpr("people").Exec(ctx)
		return err
	})
	fmt.Println(err)
	fmt.Println(ListBySqlx(ctx, db.DB()))
	// Output:
	// <nil>
	// [{1 Ada}] <nil>
}

func ExampleGormIn() {
	ctx := context.Background()
	db := open(ctx)
	defer func() { _ = db.Close(ctx) }()
	gormdb, err := NewGorm(db.DB(), db.Config())
	if err != nil {
		panic(err)
	}
	err = db.Sessions().Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
		return GormIn(ctx, gormdb, tx).Table("people").Create(&Person{1, "Ada"}).Error
	})
	fmt.Println(err)
	fmt.Println(ListBySqlx(ctx, db.DB()))
	// Output:
	// <nil>
	// [{1 Ada}] <nil>
}

func ExampleEntIn() {
	ctx := context.Background()
	db := open(ctx)
	defer func() { _ = db.Close(ctx) }()
	err := db.Sessions().Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
		return EntIn(tx, db.Config()).Person.Create().SetID(1).SetName("Ada").Exec(ctx)
	})
	fmt.Println(err)
	fmt.Println(ListBySqlx(ctx, db.DB()))
	// Output:
	// <nil>
	// [{1 Ada}] <nil>
}

// What a session that is rolled back has added is not sent.
func ExampleOutbox() {
	ctx, cancel := context.WithCancel(context.Background())
	db := open(ctx)
	defer func() { _ = db.Close(context.WithoutCancel(ctx)) }()
	if _, err := db.DB().ExecContext(ctx, OutboxDDL); err != nil {
		panic(err)
	}
	outbox := NewOutbox(db.DB(), db.Config(), func(_ context.Context, id, payload string) error {
		fmt.Println("sent", id, payload)
		cancel() // the example ends here; a service does so when it stops
		return nil
	})
	undo := fmt.Errorf("undo")
	for id, end := range map[string]error{"1": nil, "2": undo} {
		err := db.Sessions().Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
			if err := outbox.Add(ctx, tx, id, "hello"); err != nil {
				return err
			}
			return end
		})
		if err != end {
			panic(err)
		}
	}
	outbox.Run(ctx)
	// Output:
	// sent 1 hello
}
