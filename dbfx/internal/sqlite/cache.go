package sqlite

import (
	"container/list"
	"hash/maphash"

	"github.com/sergas/dbkit/dbfx/internal/engine"
)

// longestCached is the longest SQL that is worth keeping: longer ones are
// generated, and differ each time.
const longestCached = 8 << 10

// plan is what is known of a statement's text, and the prepared statement where
// the cache keeps one.
type plan struct {
	query   string
	word    string // its first
	writes  bool
	params  int  // positional parameters
	counted bool // whether params is known

	stmt    rawStmt
	busy    bool // in use: the same SQL nested in itself gets another statement
	element *list.Element
}

func newPlan(query string) plan {
	p := plan{query: query, word: engine.Keyword(query)}
	p.writes = writes(p.word, query)
	p.params, p.counted = parameters(query)
	return p
}

// cacheable reports whether the statement may be kept. DDL, PRAGMA and BEGIN
// pass by.
func (p *plan) cacheable() bool {
	switch p.word {
	case "SELECT", "INSERT", "UPDATE", "DELETE", "REPLACE", "WITH", "VALUES":
		return len(p.query) <= longestCached
	}
	return false
}

// cache keeps prepared statements of one connection, the last used ones. It has
// no lock, as a connection has one user at a time.
//
// SQL is taken in at its second sight: statements that never come again would
// cost 15 to 20 % more.
type cache struct {
	size  int
	plans map[string]*plan
	order *list.List // of *plan, the last used first
	seen  [512]uint64
}

var seed = maphash.MakeSeed()

func newCache(size int) *cache {
	if size <= 0 {
		return nil
	}
	return &cache{size: size, plans: make(map[string]*plan, size), order: list.New()}
}

// find returns the plan of query if its statement is kept and free.
func (c *cache) find(query string) *plan {
	if c == nil {
		return nil
	}
	p := c.plans[query]
	if p == nil || p.busy {
		return nil
	}
	return p
}

// wants reports whether a statement that is not kept is worth it now.
func (c *cache) wants(p *plan) bool {
	if c == nil || !p.cacheable() || c.plans[p.query] != nil {
		return false
	}
	hash := maphash.String(seed, p.query)
	slot := &c.seen[hash%uint64(len(c.seen))]
	known := *slot == hash
	*slot = hash
	return known
}

// add keeps a plan that has a statement, in the place of the one that was not
// used for the longest time.
func (c *cache) add(p plan) *plan {
	if c.order.Len() >= c.size {
		for e := c.order.Back(); e != nil; e = e.Prev() {
			if old := e.Value.(*plan); !old.busy {
				c.drop(old)
				break
			}
		}
	}
	kept := &p
	kept.element = c.order.PushFront(kept)
	c.plans[p.query] = kept
	return kept
}

// use marks p as in use.
func (c *cache) use(p *plan) {
	p.busy = true
	c.order.MoveToFront(p.element)
}

// release ends the use of p. A statement that failed is closed: it may be of a
// schema that is no more.
func (c *cache) release(p *plan, err error) {
	p.busy = false
	if err != nil {
		c.drop(p)
	}
}

func (c *cache) drop(p *plan) {
	_ = p.stmt.Close()
	c.order.Remove(p.element)
	delete(c.plans, p.query)
}

// close finalizes every statement; it must come before the connection's close.
func (c *cache) close() {
	if c == nil {
		return
	}
	for _, p := range c.plans {
		_ = p.stmt.Close()
	}
	c.order.Init()
	clear(c.plans)
}
