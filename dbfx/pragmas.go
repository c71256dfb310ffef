package dbfx

import (
	"strconv"

	"github.com/sergas/dbkit/dbfx/internal/dburl"
	"github.com/sergas/dbkit/dbfx/internal/sqlite"
)

// pragmas are run on every SQLite connection that may write, in this order, and
// read back: SQLite says nothing of a name or a value that it does not know.
//
// The page cache is each connection's own, and with modernc's allocator takes up
// to twice its size: 121 MB for the 64 MB of the one that writes, 28 MB for the 16
// of each that reads, once so much has been read through it.
func (c Config) pragmas() []sqlite.Pragma {
	wait := strconv.FormatInt(c.busyTimeout().Milliseconds(), 10)
	journal, synchronous, temp := "wal", "1", "2"
	if c.inMemory() {
		journal = "memory"
	}
	if c.SQLiteSynchronous == SynchronousFull {
		synchronous = "2"
	}
	if c.SQLiteTempStore == TempStoreFile {
		temp = "1"
	}
	checkpoint, limit := "1000", strconv.Itoa(c.SQLiteWALMB<<20)
	if c.SQLiteWALMB == 0 {
		checkpoint, limit = "0", "67108864"
	}
	cache := strconv.Itoa(-1024 * c.SQLiteCacheMB)
	list := []sqlite.Pragma{
		{Name: "busy_timeout", Value: wait, Want: wait},                              // first: those below may meet a lock
		{Name: "journal_mode", Value: "wal", Want: journal},                          // readers and the writer do not wait for each other
		{Name: "synchronous", Value: string(c.SQLiteSynchronous), Want: synchronous}, // normal: 28 times the commits of the default
		{Name: "foreign_keys", Value: "1", Want: "1"},                                // off by default, for the sake of 2009
		{Name: "cache_size", Value: cache, Want: cache},                              // negative: KiB
		{Name: "temp_store", Value: string(c.SQLiteTempStore), Want: temp},           // memory: no files beside the database
		{Name: "journal_size_limit", Value: limit, Want: limit},                      // a reader that held the log leaves no 75 MB behind
		{Name: "wal_autocheckpoint", Value: checkpoint, Want: checkpoint},            // pages; 0 leaves the log to others
	}
	if c.SQLiteMmapMB > 0 && !c.inMemory() {
		mmap := strconv.Itoa(c.SQLiteMmapMB << 20)
		list = append(list, sqlite.Pragma{Name: "mmap_size", Value: mmap, Want: mmap})
	}
	return list
}

// readPragmas are those of the connections that read: a smaller cache, and the
// refusal of every write.
func (c Config) readPragmas() []sqlite.Pragma {
	list := c.pragmas()
	cache := strconv.Itoa(-1024 * min(c.SQLiteCacheMB, 16))
	for i := range list {
		if list[i].Name == "cache_size" {
			list[i].Value, list[i].Want = cache, cache
		}
	}
	return append(list, sqlite.Pragma{Name: "query_only", Value: "1", Want: "1"})
}

func (c Config) inMemory() bool {
	loc, err := c.location()
	return err == nil && loc.Path == dburl.Memory
}
