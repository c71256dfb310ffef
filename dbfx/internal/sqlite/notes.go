package sqlite

import (
	"fmt"
	"os"
)

// lookAtFile returns what a person should know of the file, before it is opened:
// later the log of a crash is gone.
func lookAtFile(path string) []string {
	var notes []string
	info, err := os.Stat(path)
	if err == nil && info.Mode()&0o004 != 0 {
		notes = append(notes, fmt.Sprintf("%s can be read by every user of this machine (%s)", path, info.Mode()))
	}
	for _, suffix := range []string{"-wal", "-journal"} {
		if log, err := os.Stat(path + suffix); err == nil && log.Size() > 0 {
			notes = append(notes, fmt.Sprintf(
				"found %s%s with %d bytes: another process has the database open, or a crash left it and what was committed is recovered from it now",
				path, suffix, log.Size()))
		}
	}
	if name := networkFileSystem(path); name != "" {
		notes = append(notes, fmt.Sprintf("%s is on %s; SQLite's locks and shared memory do not work there, and the file can be damaged", path, name))
	}
	return notes
}
