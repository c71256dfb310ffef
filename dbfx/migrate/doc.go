// Package migrate brings a database to the schema that a program needs, safely on
// both engines, from files in goose's format:
//
//	//go:embed migrations/*.sql
//	var migrations embed.FS
//
//	fx.New(dbfx.Module, migrate.Module(migrations), app).Run()
//
// What is pending runs when the database starts, before everything that depends
// on it. Many processes may start at once: each migration runs in one of them.
package migrate
