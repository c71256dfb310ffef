package sqlite

import (
	"container/list"
	"hash/maphash"
)

// longestCached is the longest SQL that is worth keeping: longer ones are
// generated, and differ each time.
const longestCached = 8 << 10

// cache keeps prepared statements of one connection, the last used ones. It has
// no lock, as a connection has one user at a time.
//
// A statement is out of the cache while it is in use, so the same SQL nested in
// itself gets a second one. SQL is taken in at its second sight: statements that
// never come again would cost 15 to 20 % more.
type cache struct {
	size    int
	entries map[string]*list.Element
	order   *list.List // of *entry, the last used first
	seen    [512]uint64
}

type entry struct {
	query string
	stmt  rawStmt
}

var seed = maphash.MakeSeed()

func newCache(size int) *cache {
	if size <= 0 {
		return nil
	}
	return &cache{size: size, entries: make(map[string]*list.Element, size), order: list.New()}
}

// take returns the statement of query, or says whether it is worth preparing.
func (c *cache) take(query string) (stmt rawStmt, prepare bool) {
	if c == nil || len(query) > longestCached {
		return nil, false
	}
	if element, ok := c.entries[query]; ok {
		c.order.Remove(element)
		delete(c.entries, query)
		return element.Value.(*entry).stmt, false
	}
	hash := maphash.String(seed, query)
	slot := &c.seen[hash%uint64(len(c.seen))]
	known := *slot == hash
	*slot = hash
	return nil, known
}

// put takes back a statement that is no longer in use.
func (c *cache) put(query string, stmt rawStmt) {
	if _, ok := c.entries[query]; ok { // it was nested in itself
		_ = stmt.Close()
		return
	}
	c.entries[query] = c.order.PushFront(&entry{query, stmt})
	if c.order.Len() > c.size {
		oldest := c.order.Remove(c.order.Back()).(*entry)
		delete(c.entries, oldest.query)
		_ = oldest.stmt.Close()
	}
}

// close finalizes every statement; it must come before the connection's close.
func (c *cache) close() {
	if c == nil {
		return
	}
	for element := c.order.Front(); element != nil; element = element.Next() {
		_ = element.Value.(*entry).stmt.Close()
	}
	c.order.Init()
	clear(c.entries)
}

// cacheable reports whether a statement that begins with word may be kept. DDL,
// PRAGMA and BEGIN pass by.
func cacheable(word string) bool {
	switch word {
	case "SELECT", "INSERT", "UPDATE", "DELETE", "REPLACE", "WITH", "VALUES":
		return true
	}
	return false
}
