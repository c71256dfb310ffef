//go:build !linux

package sqlite

// networkFileSystem is told on Linux only.
func networkFileSystem(string) string { return "" }
