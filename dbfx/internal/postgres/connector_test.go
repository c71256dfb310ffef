package postgres

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// describe writes what a configuration would do, the password aside.
func describe(cfg *pgx.ConnConfig) string {
	encryption := "plain"
	if cfg.TLSConfig != nil {
		encryption = fmt.Sprintf("tls name=%q verified=%t", cfg.TLSConfig.ServerName, !cfg.TLSConfig.InsecureSkipVerify)
	}
	return fmt.Sprintf("%s@%s:%d/%s %s fallbacks=%d params=%v timeout=%s validate=%t mode=%s binding=%s negotiation=%s auth=%v",
		cfg.User, cfg.Host, cfg.Port, cfg.Database, encryption, len(cfg.Fallbacks), cfg.RuntimeParams, cfg.ConnectTimeout,
		cfg.ValidateConnect != nil, cfg.DefaultQueryExecMode, cfg.ChannelBinding, cfg.SSLNegotiation, cfg.RequireAuth)
}

func options(args map[string]string) *Options {
	return &Options{
		Hosts: []Host{{"db.example", 6432}}, User: "ada", Password: "hunter2", Database: "tokens", Args: args,
		ApplicationName: "app", ConnectTimeout: 7 * time.Second,
	}
}

func TestConfig_EnvironmentCannotWeakenACompleteURL(t *testing.T) {
	for _, mode := range []string{"require", "verify-full"} {
		args := map[string]string{"sslmode": mode, "options": "-c search_path=a"}
		plain, err := options(args).config()
		if err != nil {
			t.Fatal(err)
		}
		want := describe(plain)
		for name, value := range map[string]string{
			"PGHOST": "elsewhere", "PGPORT": "1", "PGUSER": "eve", "PGPASSWORD": "x", "PGDATABASE": "other", "PGSSLMODE": "disable",
			"PGSSLNEGOTIATION": "direct", "PGOPTIONS": "-c statement_timeout=1", "PGAPPNAME": "eve", "PGTZ": "Mars",
			"PGTARGETSESSIONATTRS": "read-only", "PGCONNECT_TIMEOUT": "1", "PGCHANNELBINDING": "disable",
		} {
			t.Run(mode+" "+name, func(t *testing.T) {
				t.Setenv(name, value)
				cfg, err := options(args).config()
				if err != nil {
					t.Fatal(err)
				}
				if got := describe(cfg); got != want {
					t.Errorf("%s=%s changes the connection\nfrom %s\nto   %s", name, value, want, got)
				}
				if cfg.Password != "hunter2" {
					t.Error("the password is another one")
				}
			})
		}
	}
}

func TestConfig_ErrorsOfTheParserAreNotShown(t *testing.T) {
	t.Parallel()
	for _, args := range []map[string]string{
		{"sslmode": "verify-full", "sslrootcert": "/no/hunter3"}, {"sslcert": "/no/hunter3", "sslkey": "/no/hunter3", "sslmode": "require"},
	} {
		_, err := options(args).config()
		if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "/no/hunter3") {
			t.Errorf("got %v, want the file and not the password", err)
		}
	}
}

func TestConfig_SettingsReachTheServerOrTheSession(t *testing.T) {
	t.Parallel()
	o := options(map[string]string{"options": `-c jit=off -csearch_path=foo -c work_mem=8\ MB`})
	o.StatementTimeout, o.LockTimeout = 1500*time.Millisecond, time.Second
	cfg, err := o.config()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"application_name": "app", "jit": "off", "work_mem": "8 MB", "options": "-csearch_path=foo",
		"statement_timeout": "1500", "lock_timeout": "1000",
	}
	if !maps.Equal(cfg.RuntimeParams, want) {
		t.Errorf("got %v, want %v", cfg.RuntimeParams, want)
	}
	o.Pooler = true
	if cfg, err = o.config(); err != nil || len(cfg.RuntimeParams) != 1 || cfg.DefaultQueryExecMode != pgx.QueryExecModeCacheDescribe {
		t.Errorf("behind a pooler: got %v, %s, %v", cfg.RuntimeParams, cfg.DefaultQueryExecMode, err)
	}
	got := strings.Join(o.onBegin(), "; ")
	if got != "set local jit = 'off'; set local lock_timeout = '1000'; set local search_path = 'foo'; set local statement_timeout = '1500'; set local work_mem = '8 MB'" {
		t.Errorf("got %s", got)
	}
}

func TestWarnings_TellOfAnUnverifiedConnection(t *testing.T) {
	t.Parallel()
	tests := []struct {
		host, mode string
		want       bool
	}{
		{"db.example", "", true}, {"db.example", "require", true}, {"db.example", "verify-full", false}, {"db.example", "verify-ca", false},
		{"localhost", "", false}, {"127.0.0.1", "disable", false}, {"::1", "", false}, {"/var/run/postgresql", "", false}, {"10.0.0.1", "prefer", true},
	}
	for _, tt := range tests {
		o := options(map[string]string{"sslmode": tt.mode})
		o.Hosts = []Host{{tt.host, 0}}
		if got := New(*o, nil).Warnings(); (len(got) == 1) != tt.want {
			t.Errorf("%s %q: got %v", tt.host, tt.mode, got)
		}
	}
}

func TestDialer_TakesTheSocketsArguments(t *testing.T) {
	t.Parallel()
	if d := options(nil).dialer(); !d.KeepAliveConfig.Enable || d.KeepAliveConfig.Idle != 15*time.Second || d.KeepAliveConfig.Count != 9 {
		t.Errorf("by default: got %+v", d.KeepAliveConfig)
	}
	if d := options(map[string]string{"keepalives_idle": "40"}).dialer(); d.KeepAliveConfig.Idle != 40*time.Second {
		t.Errorf("keepalives_idle=40: got %+v", d.KeepAliveConfig)
	}
	if d := options(map[string]string{"keepalives": "0"}).dialer(); d.KeepAliveConfig.Enable || d.KeepAlive >= 0 {
		t.Errorf("keepalives=0: got %+v, %s", d.KeepAliveConfig, d.KeepAlive)
	}
}
