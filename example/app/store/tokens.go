// Package store is the SQL, one text for both engines. Its methods run in the
// session that their context carries, and on the pool where it carries none.
package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/example/app/tokens"
)

// Tokens implements tokens.Store.
type Tokens struct{ sessions *dbfx.Sessions }

var _ tokens.Store = (*Tokens)(nil)

// NewTokens returns a store on the default database.
func NewTokens(sessions *dbfx.Sessions) *Tokens { return &Tokens{sessions} }

// Insert implements tokens.Store.
func (s *Tokens) Insert(ctx context.Context, t tokens.Token, hash string) error {
	_, err := s.sessions.DB(ctx).ExecContext(ctx,
		`insert into tokens (id, name, hash, created_at) values ($1, $2, $3, $4)`, t.ID, t.Name, hash, t.CreatedAt)
	return err
}

const columns = `id, name, created_at, revoked_at`

// AddSecret implements tokens.Store.
func (s *Tokens) AddSecret(ctx context.Context, id, hash string, at time.Time) (tokens.Token, error) {
	db := s.sessions.DB(ctx)
	t, err := scanToken(db.QueryRowContext(ctx, `select `+columns+` from tokens where id = $1 and revoked_at is null`, id))
	if err == nil {
		_, err = db.ExecContext(ctx, `insert into secrets (token_id, hash, created_at) values ($1, $2, $3)`, id, hash, at)
	}
	return t, err
}

// Hashes implements tokens.Store.
func (s *Tokens) Hashes(ctx context.Context, id string) (t tokens.Token, hashes []string, err error) {
	rows, err := s.sessions.DB(ctx).QueryContext(ctx, `select `+columns+`, hash from tokens where id = $1
		union all select t.id, t.name, t.created_at, t.revoked_at, s.hash from tokens t join secrets s on s.token_id = t.id where t.id = $1`, id)
	if err != nil {
		return t, nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var hash string
		if t, err = scanToken(rows, &hash); err != nil {
			return t, nil, err
		}
		hashes = append(hashes, hash)
	}
	return t, hashes, rows.Err()
}

// List implements tokens.Store. A page begins after a key and not at an offset,
// so it costs the same however far it is, and nothing is shown twice.
func (s *Tokens) List(ctx context.Context, after string, limit int) ([]tokens.Token, error) {
	rows, err := s.sessions.DB(ctx).QueryContext(ctx, `select `+columns+` from tokens where id > $1 order by id limit $2`, after, limit)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	list := []tokens.Token{}
	for rows.Next() {
		t, err := scanToken(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, t)
	}
	return list, rows.Err()
}

// Revoke implements tokens.Store.
func (s *Tokens) Revoke(ctx context.Context, t tokens.Token) error {
	return one(s.sessions.DB(ctx).ExecContext(ctx, `update tokens set revoked_at = $1 where id = $2 and revoked_at is null`, t.RevokedAt, t.ID))
}

// Claim implements tokens.Store. A second session with the same key waits here for
// the first on PostgreSQL, and before its BEGIN on SQLite. It is one statement: between
// two the key could be forgotten.
func (s *Tokens) Claim(ctx context.Context, key string, t tokens.Token) (*tokens.Token, error) {
	made := &tokens.Token{}
	err := s.sessions.DB(ctx).QueryRowContext(ctx, `insert into creations (key, name, token_id, created_at) values ($1, $2, $3, $4)
		on conflict (key) do update set key = excluded.key returning token_id, name`,
		key, t.Name, t.ID, t.CreatedAt).Scan(&made.ID, &made.Name)
	if err != nil || made.ID == t.ID {
		return nil, err
	}
	return made, nil
}

// Publish implements tokens.Store.
func (s *Tokens) Publish(ctx context.Context, e tokens.Event) error {
	_, err := s.sessions.DB(ctx).ExecContext(ctx,
		`insert into outbox (id, kind, token_id, request_id, created_at, claimed_until) values ($1, $2, $3, $4, $5, $6)`,
		e.ID, e.Kind, e.TokenID, e.RequestID, e.CreatedAt, e.CreatedAt)
	return err
}

// one makes an error of an update that found no row.
func one(result sql.Result, err error) error {
	if err != nil {
		return err
	}
	n, err := result.RowsAffected()
	if err == nil && n == 0 {
		err = tokens.ErrNotFound
	}
	return err
}

type scanner interface{ Scan(dest ...any) error }

func scanToken(row scanner, more ...any) (tokens.Token, error) {
	var t tokens.Token
	var revoked sql.Null[time.Time]
	err := row.Scan(append([]any{&t.ID, &t.Name, &t.CreatedAt, &revoked}, more...)...)
	if errors.Is(err, sql.ErrNoRows) {
		err = tokens.ErrNotFound
	}
	if revoked.Valid {
		t.RevokedAt = &revoked.V
	}
	return t, err
}
