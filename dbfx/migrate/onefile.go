package migrate

import (
	"io"
	"io/fs"
	"path"
	"strings"
)

// onlyFile is a file system of the file of one attempt, for goose: it runs the
// text whose statements and checksum are known, and sees nothing else.
type onlyFile struct{ name, text string }

var _ fs.GlobFS = onlyFile{}

// Open implements fs.FS.
func (f onlyFile) Open(name string) (fs.File, error) {
	if name != f.name || f.text == "" {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return openFile{strings.NewReader(f.text)}, nil
}

// Glob implements fs.GlobFS.
func (f onlyFile) Glob(pattern string) ([]string, error) {
	if ok, err := path.Match(pattern, f.name); err != nil || !ok || f.text == "" {
		return nil, err
	}
	return []string{f.name}, nil
}

type openFile struct{ io.Reader }

// Stat implements fs.File. goose reads to the end and asks for nothing.
func (openFile) Stat() (fs.FileInfo, error) { return nil, fs.ErrInvalid }

// Close implements fs.File.
func (openFile) Close() error { return nil }
