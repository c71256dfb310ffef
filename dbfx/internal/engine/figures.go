package engine

import (
	"context"
	"time"
)

// Figured is an Engine that knows figures which no *sql.DB has. It answers from
// memory, at any time, and quickly: it is asked once a second.
type Figured interface {
	Figures() Figures
}

// Figures are how an engine is just now.
type Figures struct {
	// Handles are the real connections, by what they are for, where those of the
	// *sql.DB cost nothing and say nothing. Nil where they are real.
	Handles []HandleFigures
	// WAL is SQLite's log, nil where there is none.
	WAL *WALFigures
	// Write is who has the right to write, nil where many may.
	Write *QueueFigures
}

// HandleFigures are real connections of one kind.
type HandleFigures struct {
	Role        string // "writer", "reader"
	MaxOpen     int    // 0 is no limit
	Open, InUse int
	Waiting     int           // who waits for one now
	Waits       int64         // how many have waited
	Waited      time.Duration // and how long, together
}

// QueueFigures are a queue that lets in one at a time.
type QueueFigures struct {
	Holder  string        // the name of its session, or words for what is no session; "" when it is free
	Held    time.Duration // for how long
	Waiting int
}

// WALFigures are SQLite's write-ahead log.
type WALFigures struct {
	Bytes   int64 // of the file
	Bound   int64 // at which it is checkpointed; 0 is never
	Pending int64 // bytes that no checkpoint has copied into the database yet
	// Checkpointed is when a checkpoint last copied all that it could, zero before
	// the first.
	Checkpointed time.Time
	Checkpoints  int64 // that ran
	Blocked      int64 // of them, how many a reader kept from finishing
}

// Blocker is an Engine that can be asked who waits for whom.
type Blocker interface {
	// Blocking returns, of the given processes, those that wait for a lock, and
	// each process that keeps it from them.
	Blocking(ctx context.Context, backends []uint32) ([]Block, error)
}

// Block is one process that keeps a lock from another.
type Block struct {
	Backend     uint32 // waits
	By          uint32 // 0 is a prepared transaction
	Application string // of By
	State       string
	Held        time.Duration // since its transaction began
}
