package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/joho/godotenv"
)

// loadEnv adds the lines of a file to the environment, which wins where both
// have a variable, and returns the file for each variable that it set. The
// default file may be missing.
func loadEnv(path string) (map[string]string, error) {
	missingOK := path == ""
	if missingOK {
		path = ".env"
	}
	text, err := os.ReadFile(path)
	if missingOK && errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	content := strings.TrimPrefix(string(text), "\uFEFF")
	values, err := godotenv.Unmarshal(content)
	if err != nil {
		// The error of godotenv quotes the rest of the file, passwords and all.
		return nil, fmt.Errorf("%s: line %d: want NAME=value", path, badLine(content))
	}
	set := map[string]string{}
	for name, value := range values {
		if os.Getenv(name) != "" {
			continue
		}
		if err := os.Setenv(name, value); err != nil {
			return nil, fmt.Errorf("%s: a line cannot be set as a variable", path)
		}
		set[name] = path
	}
	return set, nil
}

// badLine returns the number of the line after the longest part that is right.
func badLine(content string) int {
	lines := strings.SplitAfter(content, "\n")
	for n := len(lines) - 1; n > 0; n-- {
		if _, err := godotenv.Unmarshal(strings.Join(lines[:n], "")); err == nil {
			return n + 1
		}
	}
	return 1
}
