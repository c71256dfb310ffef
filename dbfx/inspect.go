package dbfx

import (
	"context"
	"time"

	"github.com/sergas/dbkit/dbfx/internal/engine"
)

// Name is the name given to Named, "" for the default database.
func (d *Database) Name() string { return d.name }

// Where says where the database is, for people and without a secret.
func (d *Database) Where() string { return d.engine.Where() }

// Settings returns the settings in force, secrets masked; Source is empty.
func (d *Database) Settings() []Setting {
	prefix := ""
	if d.name != "" {
		prefix = prefixOf(d.name) + "_"
	}
	list := make([]Setting, 0, len(settings))
	for _, s := range settings {
		variable := s.name
		if s.scope != shared {
			variable = prefix + variable
		}
		list = append(list, Setting{Variable: variable, Value: s.show(&d.cfg)})
	}
	return list
}

// Blocked is a session's connection that waits for a lock of the database.
type Blocked struct {
	Backend uint32 // as in RunningSession
	By      []Blocking
}

// Blocking is a process of the database that keeps a lock from another. It may be
// another program's.
type Blocking struct {
	Backend     uint32        // 0 is a prepared transaction
	Application string        // as it called itself
	State       string        // active, idle in transaction, …
	Held        time.Duration // since its transaction began
}

// Blocking asks PostgreSQL which of the running sessions wait for a lock, and for
// whom, on a connection of its own under ctx. Nothing is asked while none runs a
// statement, and of SQLite: its writers wait in a queue that Stats shows.
func (d *Database) Blocking(ctx context.Context) ([]Blocked, error) {
	blocker, ok := d.engine.(engine.Blocker)
	if !ok {
		return nil, nil
	}
	var backends []uint32
	for _, r := range d.sessions.running() {
		if r.Backend != 0 && r.Statement != "" {
			backends = append(backends, r.Backend)
		}
	}
	if len(backends) == 0 {
		return nil, nil
	}
	blocks, err := blocker.Blocking(ctx, backends)
	if err != nil {
		return nil, err
	}
	var list []Blocked
	for _, b := range blocks {
		if n := len(list); n == 0 || list[n-1].Backend != b.Backend {
			list = append(list, Blocked{Backend: b.Backend})
		}
		last := &list[len(list)-1]
		last.By = append(last.By, Blocking{Backend: b.By, Application: b.Application, State: b.State, Held: b.Held})
	}
	return list, nil
}
