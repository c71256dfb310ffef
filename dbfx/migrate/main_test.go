package migrate_test

import (
	"context"
	"io/fs"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/dbfx/migrate"
)

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		child()
		return
	}
	goleak.VerifyTestMain(m)
}

// files makes a file system of names and texts. A text without annotations is
// what goes up.
func files(pairs ...string) fs.FS {
	fsys := fstest.MapFS{}
	for i := 0; i < len(pairs); i += 2 {
		text := pairs[i+1]
		if !strings.Contains(text, "+goose Up") {
			text = "-- +goose Up\n" + text
		}
		fsys[pairs[i]] = &fstest.MapFile{Data: []byte(text)}
	}
	return fsys
}

// bench is a database with its log.
type bench struct {
	*dbfx.Database
	logs *observer.ObservedLogs
}

func open(t *testing.T, cfg dbfx.Config) *bench {
	t.Helper()
	core, logs := observer.New(zapcore.DebugLevel)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	db, err := dbfx.Open(ctx, cfg, dbfx.WithLogger(zap.New(core)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := db.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return &bench{db, logs}
}

const patience = time.Minute

func (b *bench) migrator(t *testing.T, fsys fs.FS, opts ...migrate.Option) *migrate.Migrator {
	t.Helper()
	m, err := migrate.New(b.Database, fsys, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func (b *bench) up(t *testing.T, fsys fs.FS, opts ...migrate.Option) []migrate.Applied {
	t.Helper()
	done, err := b.migrator(t, fsys, opts...).Up(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return done
}

// count asks for a number.
func (b *bench) count(t *testing.T, query string, args ...any) int {
	t.Helper()
	var n int
	if err := b.DB().QueryRowContext(t.Context(), query, args...).Scan(&n); err != nil {
		t.Fatal(query, err)
	}
	return n
}

func (b *bench) exec(t *testing.T, query string, args ...any) {
	t.Helper()
	if _, err := b.DB().ExecContext(t.Context(), query, args...); err != nil {
		t.Fatal(query, err)
	}
}

func contains(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("got %q, want %q in it", text, p)
		}
	}
}
