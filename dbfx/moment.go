package dbfx

import "time"

var processStart = time.Now()

// moment is t as an atomic.Int64 keeps it: nanoseconds since the start of the process,
// by the monotonic clock. The clock that shows the time of day may be set while sessions
// run: one that was set back by an hour would keep replicas out of use for that hour.
func moment(t time.Time) int64 { return int64(t.Sub(processStart)) }
