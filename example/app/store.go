package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"time"

	"github.com/sergas/dbkit/dbfx"
)

var (
	errNameTaken = errors.New("a token of this name exists")
	errNotFound  = errors.New("no such token, or it is revoked")
)

// token is what the store tells of a token. The token itself is known only to
// who created it.
type token struct {
	ID        string     `json:"id"`
	Name      string     `json:"name"`
	CreatedAt time.Time  `json:"created_at"`
	RevokedAt *time.Time `json:"revoked_at,omitempty"`
}

// store keeps tokens. Its SQL is the same on both engines.
type store struct {
	sessions *dbfx.Sessions
}

func newStore(sessions *dbfx.Sessions) *store { return &store{sessions: sessions} }

// create makes a token and returns its secret, of which only a hash is kept.
func (s *store) create(ctx context.Context, name string) (token, string, error) {
	secret := "tok_" + rand.Text()
	hash := sha256.Sum256([]byte(secret))
	// Microseconds are what PostgreSQL keeps.
	t := token{ID: rand.Text(), Name: name, CreatedAt: time.Now().UTC().Truncate(time.Microsecond)}
	err := s.sessions.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
		_, err := tx.ExecContext(ctx, `insert into tokens (id, name, hash, created_at) values ($1, $2, $3, $4)`,
			t.ID, t.Name, hex.EncodeToString(hash[:]), t.CreatedAt)
		return err
	}, dbfx.Name("tokens.create"), dbfx.Retry(dbfx.RetryPolicy{}))
	if dbfx.IsUniqueViolation(err) {
		return token{}, "", errNameTaken
	}
	return t, secret, err
}

// list returns every token, the oldest first.
func (s *store) list(ctx context.Context) ([]token, error) {
	return dbfx.ViewValue(ctx, s.sessions, func(ctx context.Context, tx *dbfx.Session) ([]token, error) {
		rows, err := tx.QueryContext(ctx, `select id, name, created_at, revoked_at from tokens order by created_at, id`)
		if err != nil {
			return nil, err
		}
		defer func() { _ = rows.Close() }()
		list := []token{}
		for rows.Next() {
			var t token
			var revoked sql.NullTime
			if err := rows.Scan(&t.ID, &t.Name, &t.CreatedAt, &revoked); err != nil {
				return nil, err
			}
			if revoked.Valid {
				t.RevokedAt = &revoked.Time
			}
			list = append(list, t)
		}
		return list, rows.Err()
	}, dbfx.Name("tokens.list"))
}

// revoke ends a token.
func (s *store) revoke(ctx context.Context, id string) error {
	return s.sessions.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
		result, err := tx.ExecContext(ctx, `update tokens set revoked_at = $1 where id = $2 and revoked_at is null`,
			time.Now().UTC().Truncate(time.Microsecond), id)
		if err != nil {
			return err
		}
		n, err := result.RowsAffected()
		if err == nil && n == 0 {
			err = errNotFound
		}
		return err
	}, dbfx.Name("tokens.revoke"), dbfx.Retry(dbfx.RetryPolicy{}))
}
