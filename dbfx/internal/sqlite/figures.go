package sqlite

import "github.com/sergas/dbkit/dbfx/internal/engine"

var _ engine.Figured = (*Engine)(nil)

// Figures implements engine.Figured.
func (e *Engine) Figures() engine.Figures {
	var f engine.Figures
	f.Handles = []engine.HandleFigures{e.writer.figures("writer")}
	if !e.single {
		own := e.own.figures("own")
		own.MaxOpen = 0
		f.Handles = append(f.Handles, e.readers.figures("reader"), own)
	}
	holder, held := e.queue.Holder()
	if held > 0 {
		holder = holderName(holder)
	}
	f.Write = &engine.QueueFigures{Holder: holder, Held: held, Waiting: e.sessions.Waiting() + e.queue.Waiting()}
	if e.wal != nil {
		f.WAL = e.wal.read()
	}
	return f
}

func (s *shelf) figures(role string) engine.HandleFigures {
	s.mu.Lock()
	defer s.mu.Unlock()
	return engine.HandleFigures{
		Role: role, MaxOpen: s.soft, Open: s.count, InUse: s.count - len(s.free),
		Waiting: len(s.waiters), Waits: s.waits, Waited: s.waited,
	}
}

// read returns the figures of the log.
func (w *wal) read() *engine.WALFigures {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := w.figures
	f.Bytes, f.Bound = w.size(), w.limit
	return &f
}
