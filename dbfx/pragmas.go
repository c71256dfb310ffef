package dbfx

import (
	"strconv"

	"github.com/sergas/dbkit/dbfx/internal/dburl"
	"github.com/sergas/dbkit/dbfx/internal/sqlite"
)

// pragmas are run on every connection of a SQLite database, in this order, and
// read back: SQLite says nothing of a name or a value that it does not know.
//
// The page cache is each connection's own. Once a database as large has been
// read through all of them, it costs SQLITE_MAX_CONNS × SQLITE_CACHE_MB, and up
// to twice that with modernc's allocator: 121 MB for one cache of 64 MB.
func (c Config) pragmas() []sqlite.Pragma {
	wait := strconv.FormatInt(c.busyTimeout().Milliseconds(), 10)
	journal, synchronous := "wal", "1"
	if c.inMemory() {
		journal = "memory"
	}
	if c.SQLiteSynchronous == SynchronousFull {
		synchronous = "2"
	}
	cache := strconv.Itoa(-1024 * c.SQLiteCacheMB)
	list := []sqlite.Pragma{
		{Name: "busy_timeout", Value: wait, Want: wait},                              // first: those below may meet a lock
		{Name: "journal_mode", Value: "wal", Want: journal},                          // readers and the writer do not wait for each other
		{Name: "synchronous", Value: string(c.SQLiteSynchronous), Want: synchronous}, // normal: 28 times the commits of the default
		{Name: "foreign_keys", Value: "1", Want: "1"},                                // off by default, for the sake of 2009
		{Name: "cache_size", Value: cache, Want: cache},                              // negative: KiB
		{Name: "temp_store", Value: "memory", Want: "2"},                             // no files beside the database
		{Name: "journal_size_limit", Value: "67108864", Want: "67108864"},            // a reader that held the WAL leaves no 75 MB behind
	}
	if c.SQLiteMmapMB > 0 && !c.inMemory() {
		mmap := strconv.Itoa(c.SQLiteMmapMB << 20)
		list = append(list, sqlite.Pragma{Name: "mmap_size", Value: mmap, Want: mmap})
	}
	return list
}

// readPragmas are those of View's connections, which write nothing: a smaller
// cache, and the refusal of every write.
func (c Config) readPragmas() []sqlite.Pragma {
	list := c.pragmas()
	cache := strconv.Itoa(-1024 * min(c.SQLiteCacheMB, 16))
	for i := range list {
		switch list[i].Name {
		case "journal_mode":
			list[i].CheckOnly = true // the handle has set it
		case "cache_size":
			list[i].Value, list[i].Want = cache, cache
		}
	}
	return append(list, sqlite.Pragma{Name: "query_only", Value: "1", Want: "1"})
}

func (c Config) inMemory() bool {
	loc, err := c.location()
	return err == nil && loc.Path == dburl.Memory
}
