package engine

import "context"

// ForSession marks ctx, under which a session takes a connection from its pool: a
// session begins with BEGIN, which a connection that is being cleaned up may take
// at once.
func ForSession(ctx context.Context) context.Context { return forSession{ctx} }

// IsForSession reports whether ctx was marked.
func IsForSession(ctx context.Context) bool { return ctx.Value(forSessionKey{}) != nil }

type forSessionKey struct{}

type forSession struct{ context.Context }

// Value implements context.Context.
func (c forSession) Value(key any) any {
	if key == (forSessionKey{}) {
		return c
	}
	return c.Context.Value(key)
}
