// Package requestid carries the id of a request to its logs, its rows and its
// events.
package requestid

import (
	"context"
	"crypto/rand"
	"strings"
)

// Header is where clients and proxies send and find it.
const Header = "X-Request-Id"

type key struct{}

// longest is what is taken of a client's own id.
const longest = 64

// With returns a context with the client's id, or a new one where it has none
// that can stand in a log line.
func With(ctx context.Context, id string) (context.Context, string) {
	if id == "" || len(id) > longest || strings.ContainsFunc(id, func(r rune) bool {
		return r != '-' && r != '_' && r != '.' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}) {
		id = strings.ToLower(rand.Text())
	}
	return context.WithValue(ctx, key{}, id), id
}

// From returns the id, "" where there is none.
func From(ctx context.Context) string {
	id, _ := ctx.Value(key{}).(string)
	return id
}
