// Package interop proves that the libraries that people write SQL with work on
// dbfx's handle and in its sessions, on both engines, nested and with errors. It
// is a module of its own, so that none of them is a requirement of dbfx. The
// glue for each is what docs/recipes.md shows.
package interop
