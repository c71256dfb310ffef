package sqltext

import "sync"

// Cache remembers what a function said of the texts of statements, which a
// service repeats. It keeps a bounded number of them, and asks again for the
// others. It is safe for concurrent use.
type Cache struct {
	Of func(sql string) string

	mu    sync.RWMutex
	known map[string]string
}

const (
	cacheTexts  = 1000
	cacheLength = 4 << 10 // a longer text is not kept
)

// Get returns Of(sql).
func (c *Cache) Get(sql string) string {
	c.mu.RLock()
	value, ok := c.known[sql]
	c.mu.RUnlock()
	if ok {
		return value
	}
	value = c.Of(sql)
	if len(sql) > cacheLength {
		return value
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil {
		c.known = make(map[string]string)
	}
	if len(c.known) < cacheTexts {
		c.known[sql] = value
	}
	return value
}
