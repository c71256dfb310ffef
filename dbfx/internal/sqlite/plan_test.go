package sqlite

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// TestPlans_KeepNoTextThatIsAPieceOfALargeOne counts memory, and so is not parallel.
func TestPlans_KeepNoTextThatIsAPieceOfALargeOne(t *testing.T) {
	db, _ := open(t, 128)
	before := heap()
	for i := range 100 {
		large := fmt.Sprintf("SELECT %d %s", i, strings.Repeat(" ", 1<<20))
		for range 3 { // known, and then in the cache
			mustExec(t, db, large[:10])
		}
	}
	if grown := heap() - before; grown > 20<<20 {
		t.Errorf("100 texts of 10 bytes keep %d bytes", grown)
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
