package dbfx_test

import (
	"context"
	"errors"
	"fmt"

	"go.uber.org/fx"

	"github.com/sergas/dbkit/dbfx"
)

// inMemory stands for the environment.
func inMemory() dbfx.Config {
	cfg := dbfx.DefaultConfig()
	cfg.SQLitePath = ":memory:"
	return cfg
}

// The module opens the database on start and closes it on stop.
func Example() {
	app := fx.New(
		fx.NopLogger,
		dbfx.Module,
		fx.Replace(inMemory()),
		fx.Invoke(func(lc fx.Lifecycle, sessions *dbfx.Sessions) {
			lc.Append(fx.StartHook(func(ctx context.Context) error {
				return sessions.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
					var sum int
					err := tx.QueryRowContext(ctx, "select $1 + 1", 41).Scan(&sum)
					fmt.Println(sum)
					return err
				})
			}))
		}),
	)
	ctx := context.Background()
	fmt.Println(app.Start(ctx), app.Stop(ctx))
	// Output:
	// 42
	// <nil> <nil>
}

// Open is the module without Fx.
func ExampleOpen() {
	ctx := context.Background()
	db, err := dbfx.Open(ctx, inMemory())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { fmt.Println("closed:", db.Close(ctx)) }()
	fmt.Println(db.Health().Check(ctx).Status)
	// Output:
	// pass
	// closed: <nil>
}

// A nested Run is a savepoint: its failure undoes it alone.
func ExampleSessions_Run_nested() {
	ctx := context.Background()
	db, err := dbfx.Open(ctx, inMemory())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = db.Close(ctx) }()

	err = db.Sessions().Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
		if _, err := tx.ExecContext(ctx, "create table users (email text unique)"); err != nil {
			return err
		}
		add := func(ctx context.Context, tx *dbfx.Session) error {
			_, err := tx.ExecContext(ctx, "insert into users values ('ada@example.com')")
			return err
		}
		for range 2 {
			if err := db.Sessions().Run(ctx, add); dbfx.IsUniqueViolation(err) {
				fmt.Println("taken:", dbfx.Constraint(err))
			}
		}
		tx.AfterCommit(func(context.Context) { fmt.Println("committed") })
		return nil
	})
	fmt.Println(err)
	// Output:
	// taken: users.email
	// committed
	// <nil>
}

// RunValue returns what was committed.
func ExampleRunValue() {
	ctx := context.Background()
	db, err := dbfx.Open(ctx, inMemory())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = db.Close(ctx) }()
	n, err := dbfx.RunValue(ctx, db.Sessions(), func(context.Context, *dbfx.Session) (int, error) {
		return 7, errors.New("no")
	})
	fmt.Println(n, err)
	// Output:
	// 0 no
}

// A Config is a plain value and prints masked.
func ExampleConfig() {
	cfg := dbfx.DefaultConfig()
	cfg.DatabaseURL = dbfx.NewSecret("postgresql+asyncpg://ada:secret@db/tokens?ssl=require")
	fmt.Println(cfg.Dialect())
	fmt.Println(cfg.DatabaseURL)
	fmt.Println(cfg.Validate())
	// Output:
	// postgresql
	// ***
	// <nil>
}
