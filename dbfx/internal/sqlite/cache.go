package sqlite

import "container/list"

// kept is a prepared statement of a cache.
type kept struct {
	query   string
	stmt    rawStmt
	busy    bool // in use: the same SQL nested in itself gets another statement
	element *list.Element
}

// cache keeps prepared statements of one real connection, the last used ones. It
// has no lock, as a connection has one user at a time.
//
// SQL is taken in at its second sight: statements that never come again would
// cost 15 to 20 % more.
type cache struct {
	size  int
	kept  map[string]*kept
	order *list.List // of *kept, the last used first
}

func newCache(size int) *cache {
	if size <= 0 {
		return nil
	}
	return &cache{size: size, kept: make(map[string]*kept, size), order: list.New()}
}

// use returns the statement of query if it is kept and free, and marks it as in
// use.
func (c *cache) use(query string) *kept {
	if c == nil {
		return nil
	}
	k := c.kept[query]
	if k == nil || k.busy {
		return nil
	}
	k.busy = true
	c.order.MoveToFront(k.element)
	return k
}

// add keeps a statement that is in use, in the place of the one that was not used
// for the longest time. It returns nil where it cannot.
func (c *cache) add(query string, stmt rawStmt) *kept {
	if c == nil || c.kept[query] != nil {
		return nil
	}
	if c.order.Len() >= c.size {
		for e := c.order.Back(); e != nil; e = e.Prev() {
			if old := e.Value.(*kept); !old.busy {
				c.drop(old)
				break
			}
		}
	}
	k := &kept{query: query, stmt: stmt, busy: true}
	k.element = c.order.PushFront(k)
	c.kept[query] = k
	return k
}

// release ends the use of k. A statement that failed is closed: it may be of a
// schema that is no more.
func (c *cache) release(k *kept, err error) {
	k.busy = false
	if err != nil {
		c.drop(k)
	}
}

func (c *cache) drop(k *kept) {
	_ = k.stmt.Close()
	c.order.Remove(k.element)
	delete(c.kept, k.query)
}

// close finalizes every statement; it must come before the connection's close.
func (c *cache) close() {
	if c == nil {
		return
	}
	for _, k := range c.kept {
		_ = k.stmt.Close()
	}
	c.order.Init()
	clear(c.kept)
}
