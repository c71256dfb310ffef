package sqltext

import "sync"

// Cache remembers what a function said of the texts of statements, which a
// service repeats. It keeps a bounded number of them: texts that came once make
// room, and those that come again stay. It is safe for concurrent use.
type Cache[V any] struct {
	Of func(sql string) V

	mu         sync.RWMutex
	young, old map[string]V // a full young one becomes the old one
}

const (
	cacheTexts  = 500     // of one generation
	cacheLength = 4 << 10 // a longer text is not kept
)

// Get returns Of(sql).
func (c *Cache[V]) Get(sql string) V {
	c.mu.RLock()
	value, ok := c.young[sql]
	if ok {
		c.mu.RUnlock()
		return value
	}
	value, ok = c.old[sql]
	c.mu.RUnlock()
	if !ok {
		value = c.Of(sql)
	}
	if len(sql) > cacheLength {
		return value
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.young == nil || len(c.young) >= cacheTexts {
		c.young, c.old = make(map[string]V), c.young
	}
	c.young[sql] = value
	return value
}
