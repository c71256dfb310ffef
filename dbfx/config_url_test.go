package dbfx

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

func TestConfig_WhereItConnects(t *testing.T) {
	t.Parallel()
	tests := []struct {
		giveURL, givePassword string
		wantDialect           Dialect
		wantURL               string
	}{
		{"", "", SQLite, "sqlite:////default.db"},
		{" \n", "", SQLite, "sqlite:////default.db"},
		{"", "x", Postgres, "postgres://sergas_user:x@one:5432,two:5432/sergas_agent_db?sslmode=require"},
		{" postgresql://ada:x@db/t\n", "", Postgres, "postgres://ada:x@db/t?sslmode=require"},
		{"postgresql://ada:x@db/t?sslmode=disable", "y", Postgres, "postgres://ada:x@db/t?sslmode=disable"},
		{"sqlite:////a.db", "y", SQLite, "sqlite:////a.db"},
		{"mysql://ada:x@db/t?a=b", "y", SQLite, "sqlite:////default.db"},
		{"postgresql://ada:x@a@b/t", "", Postgres, ""},
		{"nonsense", "", SQLite, ""},
	}
	for _, tt := range tests {
		cfg := DefaultConfig()
		cfg.DatabaseURL, cfg.Password = NewSecret(tt.giveURL), NewSecret(tt.givePassword)
		cfg.SQLitePath, cfg.Host, cfg.SSLMode = "/default.db", "one, two", SSLModeRequire
		if cfg.Dialect() != tt.wantDialect || cfg.URL() != tt.wantURL {
			t.Errorf("%q: got %s, %s", tt.giveURL, cfg.Dialect(), cfg.URL())
		}
		if (cfg.SQLAlchemyURL(true) == "") != (tt.wantURL == "") {
			t.Errorf("%q: got %s for SQLAlchemy", tt.giveURL, cfg.SQLAlchemyURL(true))
		}
	}
}

// marker is the password of every refused URL; no error may hold a part of it.
const marker = "hunter2"

func TestConfig_RefusesAURLWithoutShowingIt(t *testing.T) {
	t.Parallel()
	for _, give := range append(malformed, "postgresql+asyncpg:u:hunter2@h/db", `"postgresql://u:hunter2@h/db"`, "hunter2", "sqlite://hunter2.db") {
		cfg := DefaultConfig()
		cfg.DatabaseURL = NewSecret(give)
		err := cfg.Validate()
		if err == nil {
			continue // the test of every malformed URL says which of them only fail to connect
		}
		for _, text := range []string{err.Error(), fmt.Sprintf("%+v %#v", err, err), cfg.String()} {
			if strings.Contains(text, marker) {
				t.Errorf("shows the password: %s", text)
			}
		}
		if !strings.HasPrefix(err.Error(), "dbfx: config: DATABASE_URL: ") {
			t.Errorf("got %q, want DATABASE_URL in front", err)
		}
	}
}

func TestConfig_URLsNameTheFileFromEveryDirectory(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	file := filepath.Join(dir, "data", "a b.db")
	cfg := DefaultConfig()
	cfg.SQLitePath = "./data/a b.db"
	if cfg.File() != file || cfg.URL() != "sqlite:///"+file || cfg.SQLAlchemyURL(true) != "sqlite+aiosqlite:///"+file {
		t.Errorf("got %s, %s, %s", cfg.File(), cfg.URL(), cfg.SQLAlchemyURL(true))
	}
	t.Chdir(t.TempDir())
	if cfg.File() != file {
		t.Errorf("after a Chdir: got %s, want %s", cfg.File(), file)
	}
	again := DefaultConfig()
	again.DatabaseURL = NewSecret(cfg.URL())
	if again.File() != file {
		t.Errorf("read back as %s", again.File())
	}
	cfg.SQLitePath = ":memory:"
	if cfg.File() != "" || cfg.URL() != "sqlite:///:memory:" {
		t.Errorf("in memory: got %q, %s", cfg.File(), cfg.URL())
	}
}
