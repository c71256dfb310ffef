// Package people is what sqlc generates from query.sql. Its DBTX is dbfx.DBTX in
// all but name, and one text with $1 placeholders serves both engines.
package people

//go:generate go run github.com/sqlc-dev/sqlc/cmd/sqlc@v1.31.1 generate
