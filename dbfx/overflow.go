package dbfx

import (
	"database/sql"
	"sync"
	"time"

	"github.com/sergas/dbkit/dbfx/internal/engine"
)

// trimInterval is how often the idle connections are counted; what exceeds
// POOL_SIZE through a whole trimWindow of counts is closed.
const (
	trimInterval = 5 * time.Second
	trimWindow   = 12
)

// trimmer closes the overflow of pools after the load has gone. database/sql
// can only cap what idles at once, which closes and opens connections all the
// time under a load above the cap, or let everything idle out.
type trimmer struct {
	stop chan struct{}
	wg   sync.WaitGroup
}

// start begins to trim db, if its handle keeps less than it may have open. It may be
// called for several handles, before end.
func (t *trimmer) start(db *sql.DB, h engine.Handle) {
	if h.Keep <= 0 || h.MaxIdle <= h.Keep {
		return
	}
	if t.stop == nil {
		t.stop = make(chan struct{})
	}
	t.wg.Go(func() {
		tick := time.NewTicker(trimInterval)
		defer tick.Stop()
		over := 0
		for {
			select {
			case <-t.stop:
				return
			case <-tick.C:
				over = trim(db, h, over)
			}
		}
	})
}

// trim counts once; over is in how many counts before this one there was too much.
func trim(db *sql.DB, h engine.Handle, over int) int {
	if db.Stats().Idle <= h.Keep {
		return 0
	}
	if over++; over < trimWindow {
		return over
	}
	db.SetMaxIdleConns(h.Keep) // closes what is more
	db.SetMaxIdleConns(h.MaxIdle)
	return 0
}

func (t *trimmer) end() {
	if t.stop != nil {
		close(t.stop)
		t.wg.Wait()
	}
}
