//go:build !unix

package sqlite

import "io/fs"

// owner says whose a file is, which this system does not tell by a number.
func owner(fs.FileInfo) string { return "" }
