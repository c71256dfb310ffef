package tokens

import (
	"context"
	"time"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/example/app/requestid"
)

// Store keeps tokens. Its methods work in the session of their context.
type Store interface {
	Insert(ctx context.Context, t Token, hash string) error
	// AddSecret gives a token that is not revoked a further secret.
	AddSecret(ctx context.Context, id, hash string, at time.Time) (Token, error)
	// Hashes returns none for an unknown token.
	Hashes(ctx context.Context, id string) (Token, []string, error)
	List(ctx context.Context, after string, limit int) ([]Token, error)
	Revoke(ctx context.Context, t Token) error
	// Claim notes that key makes a token, or returns what it has made before.
	Claim(ctx context.Context, key string, t Token) (made *Token, err error)
	// Publish adds an event to the outbox.
	Publish(ctx context.Context, e Event) error
}

// Service is what can be done with tokens.
type Service struct {
	sessions *dbfx.Sessions
	store    Store
	wake     func()
}

// NewService returns a Service; wake is told that there is an event to relay.
func NewService(sessions *dbfx.Sessions, store Store, wake func()) *Service {
	return &Service{sessions: sessions, store: store, wake: wake}
}

// Create makes a token and returns its secret, of which only a hash is kept.
//
// With a key of the client's it can be repeated: the answer with the secret may
// have been lost, so a repeat gives the same token a further secret. The first ones
// go on working, because nobody knows which answer the client has: a request may
// come after its own repetition. With a key the
// session is idempotent too, and so a COMMIT of unknown outcome is tried again
// instead of being the client's riddle.
func (s *Service) Create(ctx context.Context, name, key string) (Token, string, error) {
	var t Token
	var presented string
	opts := []dbfx.SessionOption{dbfx.Name("tokens.create"), dbfx.Retry(dbfx.RetryPolicy{})}
	if key != "" {
		opts = append(opts, dbfx.Idempotent())
	}
	err := s.sessions.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
		at := now()
		t = Token{ID: newID(at), Name: name, CreatedAt: at}
		hash := ""
		if key != "" {
			made, err := s.store.Claim(ctx, key, t)
			if err != nil {
				return err
			}
			if made != nil {
				if made.Name != name {
					return ErrKeyReused
				}
				presented, hash = newSecret(made.ID)
				t, err = s.store.AddSecret(ctx, made.ID, hash, at)
				return err
			}
		}
		presented, hash = newSecret(t.ID)
		if err := s.store.Insert(ctx, t, hash); err != nil {
			return err
		}
		return s.happened(ctx, tx, "created", t)
	}, opts...)
	if dbfx.IsUniqueViolation(err) {
		return Token{}, "", ErrNameTaken
	}
	return t, presented, err
}

// happened writes the event in the transaction in which it happened. The wake-up
// is for speed: the relay looks by itself too.
func (s *Service) happened(ctx context.Context, tx *dbfx.Session, kind string, t Token) error {
	tx.AfterCommit(func(context.Context) { s.wake() })
	at := now()
	return s.store.Publish(ctx, Event{ID: newID(at), Kind: kind, TokenID: t.ID, RequestID: requestid.From(ctx), CreatedAt: at})
}

// Verify returns the token that a client presents. It reads the primary: a token
// that was just revoked must not pass because a replica is late.
func (s *Service) Verify(ctx context.Context, presented string) (Token, error) {
	id, secret, ok := parse(presented)
	if !ok {
		return Token{}, ErrNotFound
	}
	return dbfx.ViewValue(ctx, s.sessions, func(ctx context.Context, _ *dbfx.Session) (Token, error) {
		t, hashes, err := s.store.Hashes(ctx, id)
		if err != nil {
			return Token{}, err
		}
		if !matches(secret, hashes) || t.RevokedAt != nil {
			return Token{}, ErrNotFound
		}
		return t, nil
	}, dbfx.Name("tokens.verify"), dbfx.Primary())
}

// List returns at most limit tokens after the one of the id after, the oldest
// first, and the id to go on from, "" at the end.
func (s *Service) List(ctx context.Context, after string, limit int) ([]Token, string, error) {
	list, err := dbfx.ViewValue(ctx, s.sessions, func(ctx context.Context, _ *dbfx.Session) ([]Token, error) {
		return s.store.List(ctx, after, limit+1)
	}, dbfx.Name("tokens.list"))
	if err != nil || len(list) <= limit {
		return list, "", err
	}
	return list[:limit], list[limit-1].ID, nil
}

// Revoke ends a token.
func (s *Service) Revoke(ctx context.Context, id string) error {
	return s.sessions.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
		at := now()
		t := Token{ID: id, RevokedAt: &at}
		if err := s.store.Revoke(ctx, t); err != nil {
			return err
		}
		return s.happened(ctx, tx, "revoked", t)
	}, dbfx.Name("tokens.revoke"), dbfx.Retry(dbfx.RetryPolicy{}))
}
