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
//
// # Files
//
// A file is called 00001_name.sql, and its statements end with a semicolon at the
// end of a line:
//
//	-- +goose Up
//	create table users (id integer primary key);
//	-- +goose Down
//	drop table users;
//
// It runs in a transaction with its version, unless it says -- +goose NO
// TRANSACTION, as a CREATE INDEX CONCURRENTLY needs. Text between -- +goose
// StatementBegin and -- +goose StatementEnd is one statement. The files stand in
// the root of the file system, in its only folder, or in folders called postgresql
// and sqlite.
//
// # Without Fx
//
// [New] makes a [Migrator] of a dbfx.Database that is open; call [Migrator.Up].
//
// docs/migrations.md in the repository says what is kept on each engine.
package migrate
