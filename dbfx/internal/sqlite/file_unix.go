//go:build unix

package sqlite

import (
	"fmt"
	"io/fs"
	"syscall"
)

// owner says whose a file is.
func owner(info fs.FileInfo) string {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return fmt.Sprintf(" of uid %d", s.Uid)
	}
	return ""
}
