package sqlite

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestPublishFile_ReplacesNothing(t *testing.T) {
	t.Parallel()
	ways := map[string]func(from, to string) error{"link": publishFile, "rename": renameNoReplace}
	for name, publish := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			from, to, free := filepath.Join(dir, "from"), filepath.Join(dir, "to"), filepath.Join(dir, "free")
			for _, file := range []string{from, to} {
				if err := os.WriteFile(file, []byte(file), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := publish(from, to); !errors.Is(err, fs.ErrExist) {
				t.Errorf("got %v, want a refusal", err)
			}
			if err := publish(from, free); err != nil {
				t.Errorf("to a free name: %v", err)
			}
			for file, want := range map[string]string{to: to, free: from} {
				if text, err := os.ReadFile(file); err != nil || string(text) != want {
					t.Errorf("%s: got %q, %v, want %q", file, text, err, want)
				}
			}
		})
	}
}

// A link whose answer was lost is there when it is asked for again.
func TestPublishFile_KnowsItsOwnLink(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	if err := os.WriteFile(from, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := publishFile(from, to); err != nil {
			t.Fatal(err)
		}
	}
}
