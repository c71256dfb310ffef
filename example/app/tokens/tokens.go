// Package tokens is the domain: what an API token is, and what can be done with
// one. It knows transactions and no SQL.
package tokens

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
)

// What can go wrong, apart from the database.
var (
	ErrNameTaken = errors.New("a token of this name exists")
	ErrNotFound  = errors.New("no such token, or it is revoked")
	ErrKeyReused = errors.New("this Idempotency-Key has made a token of another name")
)

// Token is what is told of a token. Its secret is known only to who created it.
type Token struct {
	ID        string     `json:"id"`
	Name      string     `json:"name"`
	CreatedAt time.Time  `json:"created_at"`
	RevokedAt *time.Time `json:"revoked_at,omitempty"`
}

// Event is something that happened to a token, for the audit trail.
type Event struct {
	ID        string    `json:"id"`
	Kind      string    `json:"kind"`
	TokenID   string    `json:"token_id"`
	RequestID string    `json:"request_id"`
	CreatedAt time.Time `json:"created_at"`
}

// now is in microseconds, which is what PostgreSQL keeps.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

// newID returns an id that sorts by time: pages need an order that new rows do
// not disturb.
func newID(at time.Time) string {
	return fmt.Sprintf("%012x%s", at.UnixMilli(), strings.ToLower(rand.Text()[:16]))
}

// newSecret returns what the client presents, tok_<id>_<secret>, and the hash
// that is kept. A secret of 130 random bits needs no salt and no slow hash.
func newSecret(id string) (presented, hash string) {
	secret := strings.ToLower(rand.Text())
	return "tok_" + id + "_" + secret, hashOf(secret)
}

// parse takes apart what a client presents.
func parse(presented string) (id, secret string, ok bool) {
	rest, ok := strings.CutPrefix(presented, "tok_")
	if !ok {
		return "", "", false
	}
	return strings.Cut(rest, "_")
}

func hashOf(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// nobody is the hash that an unknown token has: no secret is known to have it.
var nobody = strings.Repeat("0", 2*sha256.Size)

// matches takes as long for a wrong secret as for a right one, and for an unknown
// token as for one that has a single secret.
func matches(secret string, hashes []string) bool {
	if len(hashes) == 0 {
		hashes = []string{nobody}
	}
	own, found := []byte(hashOf(secret)), 0
	for _, hash := range hashes {
		found |= subtle.ConstantTimeCompare(own, []byte(hash))
	}
	return found == 1
}
