package dbfx

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// setEnvironment leaves only vars of dbfx's variables; t.Setenv keeps the test
// from running in parallel.
func setEnvironment(t *testing.T, vars map[string]string) {
	t.Helper()
	for _, s := range settings {
		for _, prefix := range []string{"", "REPORTS_", "READ_REPLICA_"} {
			t.Setenv(prefix+s.name, "")
		}
	}
	for name, value := range vars {
		t.Setenv(name, value)
	}
}

func TestLoadConfig_EmptyIsUnset(t *testing.T) {
	setEnvironment(t, nil) // every variable is set, to nothing
	cfg, err := LoadConfig()
	if err != nil {
		t.Fatal(err)
	}
	if cfg != DefaultConfig() {
		t.Errorf("got %v, want the defaults", cfg)
	}
	if cfg.Dialect() != SQLite {
		t.Errorf("got %s, want SQLite", cfg.Dialect())
	}
}

func TestLoadConfig_ReadsEveryForm(t *testing.T) {
	tests := []struct {
		name, value string
		want        func(Config) bool
	}{
		{"POOL_TIMEOUT", "30", func(c Config) bool { return c.PoolTimeout == 30*time.Second }},
		{"POOL_TIMEOUT", "0.5", func(c Config) bool { return c.PoolTimeout == 500*time.Millisecond }},
		{"POOL_TIMEOUT", "1m", func(c Config) bool { return c.PoolTimeout == time.Minute }},
		{"POOL_TIMEOUT", " 5 ", func(c Config) bool { return c.PoolTimeout == 5*time.Second }},
		{"POOL_TIMEOUT", "0", func(c Config) bool { return c.PoolTimeout == 0 }},
		{"POOL_RECYCLE", "-1", func(c Config) bool { return c.PoolRecycle == Forever }},
		{"POOL_SIZE", "0", func(c Config) bool { return c.PoolSize == 0 }},
		{"POOL_SIZE", "007", func(c Config) bool { return c.PoolSize == 7 }},
		{"MAX_OVERFLOW", "-1", func(c Config) bool { return c.MaxOverflow == -1 }},
		{"TOKEN_PERSISTENCE_ENABLED", "No", func(c Config) bool { return !c.TokenPersistenceEnabled }},
		{"SQL_ECHO", "on", func(c Config) bool { return c.SQLEcho }},
		{"SQL_SLOW_THRESHOLD", "0.25", func(c Config) bool { return c.SQLSlowThreshold == 250*time.Millisecond }},
		{"SQLITE_FILE_MODE", "0o660", func(c Config) bool { return c.SQLiteFileMode == 0o660 }},
		{"POOL_PRE_PING", "True", func(c Config) bool { return c.PoolPrePing == PrePingAuto }},
		{"POOL_PRE_PING", "false", func(c Config) bool { return c.PoolPrePing == PrePingOff }},
		{"POOL_PRE_PING", "0", func(c Config) bool { return c.PoolPrePing == PrePingOff }},
		{"POOL_PRE_PING", "Always", func(c Config) bool { return c.PoolPrePing == PrePingAlways }},
		{"POOLER", "false", func(c Config) bool { return c.Pooler == PoolerOff }},
		{"SQLITE_SYNCHRONOUS", "FULL", func(c Config) bool { return c.SQLiteSynchronous == "full" }},
		{"DATABASE_PASSWORD", " s p ", func(c Config) bool { return c.Password.Reveal() == " s p " && c.Dialect() == Postgres }},
		{"DATABASE_URL", "mysql://u:hunter2@h/d", func(c Config) bool { return c.Dialect() == SQLite }},
	}
	for _, tt := range tests {
		t.Run(tt.name+"="+tt.value, func(t *testing.T) {
			setEnvironment(t, map[string]string{tt.name: tt.value})
			cfg, err := LoadConfig()
			if err != nil {
				t.Fatal(err)
			}
			if !tt.want(cfg) {
				t.Errorf("got %v", cfg)
			}
		})
	}
}

func TestLoadConfig_RefusesAndNamesTheVariable(t *testing.T) {
	tests := []struct{ name, value string }{
		{"POOL_SIZE", "many"}, {"POOL_SIZE", "-1"}, {"POOL_SIZE", "1.5"}, {"POOL_SIZE", "99999999999999999999"},
		{"MAX_OVERFLOW", "-2"}, {"MAX_OVERFLOW", "ten"},
		{"POOL_TIMEOUT", "-1"}, {"POOL_TIMEOUT", "NaN"}, {"POOL_TIMEOUT", "Inf"}, {"POOL_TIMEOUT", "1e400"}, {"POOL_TIMEOUT", "soon"},
		{"POOL_RECYCLE", "-2"}, {"POOL_RECYCLE", "1y"},
		{"CONNECT_TIMEOUT", "0"}, {"COMMIT_TIMEOUT", "0"}, {"DRAIN_TIMEOUT", "-5s"}, {"START_TIMEOUT", "x"},
		{"DATABASE_PORT", "0"}, {"DATABASE_PORT", "65536"}, {"DATABASE_PORT", "abc"},
		{"DATABASE_SSLMODE", "enable"}, {"DATABASE_PATH", "./data/"}, {"DATABASE_PATH", "file:a.db?mode=ro"},
		{"TOKEN_PERSISTENCE_ENABLED", "maybe"}, {"SQL_ECHO", "2"}, {"SQL_ECHO_PARAMS", "si"},
		{"SQL_SLOW_THRESHOLD", "-1"}, {"DATABASE_MIGRATION_URL", "postgresql://h/d"}, {"DATABASE_REPLICA_URL", "postgresql://h/d"},
		{"POOLER", "true"}, {"POOL_PRE_PING", "maybe"}, {"SQLITE_SYNCHRONOUS", "false"}, {"DATABASE_SSLMODE", "false"},
		{"SQLITE_MAX_CONNS", "-1"}, {"SQLITE_BUSY_TIMEOUT", "99999999999"}, {"SQLITE_CACHE_MB", "0"},
		{"SQLITE_SYNCHRONOUS", "off"}, {"SQLITE_FILE_MODE", "0999"}, {"SQLITE_FILE_MODE", "0400"}, {"SQLITE_FILE_MODE", "0777"},
	}
	for _, tt := range tests {
		t.Run(tt.name+"="+tt.value, func(t *testing.T) {
			setEnvironment(t, map[string]string{tt.name: tt.value})
			_, err := LoadConfig()
			if err == nil {
				t.Fatal("accepted")
			}
			if want := "dbfx: config: " + tt.name + ": want "; !strings.HasPrefix(err.Error(), want) {
				t.Errorf("got %q, want it to begin with %q", err, want)
			}
		})
	}
}

func TestLoadConfig_ReportsEveryFaultAtOnce(t *testing.T) {
	setEnvironment(t, map[string]string{
		"POOL_SIZE": "many", "DATABASE_PORT": "x", "POOL_TIMEOUT": "-3", "DATABASE_URL": "postgresql://u:hunter2@a@b/c",
	})
	_, err := LoadConfig()
	if err == nil {
		t.Fatal("accepted")
	}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != 4 {
		t.Errorf("got %d faults, want 4:\n%v", len(lines), err)
	}
	if strings.Contains(err.Error(), marker) {
		t.Errorf("shows the password: %v", err)
	}
}

func TestLoadNamedConfig_NeverOpensAnotherDatabase(t *testing.T) {
	setEnvironment(t, map[string]string{
		"DATABASE_URL": "postgresql://main/db", "DATABASE_HOST": "main", "DATABASE_PASSWORD": "x", "DATABASE_PATH": "/main.db",
		"DATABASE_NAME": "main", "POOL_SIZE": "7", "MAX_OVERFLOW": "3", "REPORTS_MAX_OVERFLOW": "4", "SQL_ECHO": "true",
		"REPORTS_SQL_ECHO": "false", "ENV": "production",
	})
	cfg, err := LoadNamedConfig("reports")
	if err != nil {
		t.Fatal(err)
	}
	if cfg.SQLitePath != "./data/reports.db" || cfg.Dialect() != SQLite {
		t.Errorf("got %s, want the default of a named database", cfg.URL())
	}
	if cfg.PoolSize != 7 || cfg.MaxOverflow != 4 || !cfg.SQLEcho || cfg.Env != "production" {
		t.Errorf("pool settings must fall back, ENV and logging be shared: %v", cfg)
	}
	t.Setenv("REPORTS_DATABASE_PASSWORD", "y")
	if cfg, err = LoadNamedConfig("reports"); err != nil || cfg.Host != "localhost" || cfg.Name != "reports" {
		t.Errorf("got %v, %v, want reports at localhost", cfg, err)
	}
	t.Setenv("REPORTS_POOL_SIZE", "many")
	if _, err = LoadNamedConfig("reports"); err == nil || !strings.Contains(err.Error(), "REPORTS_POOL_SIZE: want") {
		t.Errorf("got %v, want the full name of the variable", err)
	}
	for _, name := range []string{"../etc", "a b", "1st", "a.b", "ü"} {
		if _, err := LoadNamedConfig(name); err == nil {
			t.Errorf("the name %q was accepted", name)
		}
	}
}

func TestConfig_NoPrinterShowsASecret(t *testing.T) {
	t.Parallel()
	secret := "hunter2€/@:#"
	cfg := DefaultConfig()
	cfg.Password = NewSecret(secret)
	withURL := DefaultConfig()
	withURL.DatabaseURL = NewSecret("postgresql://u:hunter2@h/db?sslpassword=hunter2")
	withURL.DatabaseMigrationURL, withURL.DatabaseReplicaURL = withURL.DatabaseURL, withURL.DatabaseURL
	type hidden struct{ cfg, other any }
	for _, c := range []Config{cfg, withURL} {
		var out bytes.Buffer
		encoder := zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig())
		log := zap.New(zapcore.NewCore(encoder, zapcore.AddSync(&out), zap.DebugLevel))
		log.Info("x", zap.Any("a", c), zap.Reflect("r", c), zap.Object("o", c), zap.String("s", c.String()), zap.Any("p", c.Password), zap.Any("u", c.DatabaseURL))
		slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "c", c, "p", c.Password)
		slog.New(slog.NewTextHandler(&out, nil)).Info("x", "c", c, "p", c.Password, "ptr", &c)
		for _, value := range []any{c, &c, hidden{c, c.Password}, c.Password, c.DatabaseURL, struct{ p Secret }{c.Password}, []any{c}, map[string]any{"c": c}} {
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x", "%X", "%T"} {
				fmt.Fprintf(&out, verb, value)
			}
			text, err := json.Marshal(value)
			fmt.Fprintln(&out, string(text), err)
		}
		db, err := newDatabase("", c)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "%v %+v %#v", db, db, db)
		fmt.Fprintf(&out, "%v %+v %#v", db.open(), db.main, db.main)
		fmt.Fprintf(&out, "%v %+v %#v", db.sessions, db.engine, db.engine)
		_ = db.abort()
		for _, text := range []string{secret, marker, "68756e74657232", "aHVudGVyM"} {
			if strings.Contains(out.String(), text) {
				i := strings.Index(out.String(), text)
				t.Errorf("%q is shown: …%s", text, out.String()[max(0, i-200):min(out.Len(), i+50)])
			}
		}
	}
}

// The example and the documentation name every variable, with its default, and
// none that nothing reads. The variables below the last heading are the example app's.
func TestSettings_AreAllDocumentedWithTheirDefaults(t *testing.T) {
	t.Parallel()
	files := []struct {
		path string
		line *regexp.Regexp // a variable and its default
	}{
		{"../.env.example", regexp.MustCompile(`(?m)^([A-Z][A-Z0-9_]*)=(.*)$`)},
		{"../docs/settings.md", regexp.MustCompile("(?m)^\\| `([A-Z][A-Z0-9_]*)` \\|(?: `(.*?)`)? \\|")},
	}
	for _, file := range files {
		content, err := os.ReadFile(file.path)
		if err != nil {
			t.Fatal(err)
		}
		ours, _, _ := strings.Cut(string(content), "--- The example app")
		documented := map[string]string{}
		for _, m := range file.line.FindAllStringSubmatch(ours, -1) {
			documented[m[1]] = m[2]
		}
		defaults := DefaultConfig()
		for _, s := range settings {
			text, ok := documented[s.name]
			delete(documented, s.name)
			cfg := DefaultConfig()
			if text != "" && s.read(&cfg, text) != nil || cfg != defaults || !ok {
				t.Errorf("%s: %s=%q, want its default %q", file.path, s.name, text, s.show(&defaults))
			}
		}
		for name := range documented {
			t.Errorf("%s names %s, which nothing reads", file.path, name)
		}
	}
}

func TestExplain_SaysWhereEachValueCameFrom(t *testing.T) {
	setEnvironment(t, map[string]string{"REPORTS_POOL_SIZE": "3", "MAX_OVERFLOW": "1", "REPORTS_DATABASE_PASSWORD": "hunter2"})
	list, err := Explain("reports")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]Setting{}
	for _, s := range list {
		got[s.Variable] = s
	}
	want := []Setting{
		{"REPORTS_POOL_SIZE", "3", "REPORTS_POOL_SIZE"}, {"MAX_OVERFLOW", "1", "MAX_OVERFLOW"},
		{"REPORTS_DATABASE_PASSWORD", "***", "REPORTS_DATABASE_PASSWORD"}, {"REPORTS_DATABASE_PORT", "5432", "default"},
	}
	for _, w := range want {
		if got[w.Variable] != w {
			t.Errorf("got %v, want %v", got[w.Variable], w)
		}
	}
}

func TestExplain_ShowsWhatTheURLOverrides(t *testing.T) {
	tests := []struct{ url, variable, value string }{
		{"sqlite:///a.db?timeout=0.25", "SQLITE_BUSY_TIMEOUT", "250ms"},
		{"postgresql://h/d?ssl=require", "DATABASE_SSLMODE", "require"},
		{"postgresql://h/d?timeout=3", "CONNECT_TIMEOUT", "3s"},
		{"postgresql://h/d?application_name=x", "DATABASE_APPLICATION_NAME", "x"},
	}
	for _, tt := range tests {
		setEnvironment(t, map[string]string{"DATABASE_URL": tt.url, tt.variable: "7s"})
		if tt.variable == "DATABASE_SSLMODE" {
			t.Setenv(tt.variable, "disable")
		}
		list, err := Explain("")
		if err != nil {
			t.Fatal(err)
		}
		want := Setting{tt.variable, tt.value, "DATABASE_URL"}
		if !slices.Contains(list, want) {
			t.Errorf("%s: want %v in %v", tt.url, want, list)
		}
	}
}

func TestConfig_TheURLsTimeoutIsTheBusyTimeout(t *testing.T) {
	t.Parallel()
	cfg := DefaultConfig()
	cfg.DatabaseURL = NewSecret("sqlite+aiosqlite:///" + t.TempDir() + "/a.db?timeout=0.25&check_same_thread=False")
	d, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close(context.Background()) }()
	var ms int
	if err := d.DB().QueryRowContext(t.Context(), "pragma busy_timeout").Scan(&ms); err != nil || ms != 250 {
		t.Errorf("got %d, %v", ms, err)
	}
}
